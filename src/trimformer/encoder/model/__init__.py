"""The body and its heads."""
