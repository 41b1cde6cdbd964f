"""Methods that remove heads, units, dimensions and whole layers."""
