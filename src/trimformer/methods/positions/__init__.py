"""Methods that look at the positions of attention, the pairs of a query and a key, or remove some."""
