"""What a task is: its rows (sources, tables), its token ids (encoding), its labels, answers and metrics (kinds)."""
