"""Methods that decide which layers keep their attention."""
