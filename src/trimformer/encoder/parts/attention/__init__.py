"""What mixes the tokens in a layer: one file for each kind."""
