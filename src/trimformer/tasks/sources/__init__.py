"""Where the rows of a task come from: known corpora, the hub, the built-in set, the user's own files."""
