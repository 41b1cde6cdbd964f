"""The shape of an encoder and the gates at its points."""
