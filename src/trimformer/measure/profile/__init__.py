"""What each component of a model costs: counted, and measured inside the runtimes."""
