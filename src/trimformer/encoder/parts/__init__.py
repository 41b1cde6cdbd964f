"""What a layer can be made of."""
