"""Linear maps: one file for each kind."""
