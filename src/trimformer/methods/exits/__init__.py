"""Methods after which a text leaves the encoder as soon as an exit between the layers is sure of it."""
