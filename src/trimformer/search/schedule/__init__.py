"""Who is trained for how long: successive halving within a time budget."""
