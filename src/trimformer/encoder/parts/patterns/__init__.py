"""Which pairs of tokens attend to each other, whatever they are: the static masks of ``sparse`` attention."""
