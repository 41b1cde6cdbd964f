"""Methods that change weights: the layers stay, with fewer numbers in them."""
