"""From gates to a smaller encoder."""
