"""Methods that leave fewer bits in each weight: the shape stays, and so does the number of weights."""
