"""What writes a model as a file for other runtimes."""
