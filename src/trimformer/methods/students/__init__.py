"""Methods that train a smaller encoder to take the place of the one that they start from."""
