"""``trimformer predict``: label files larger than memory, in this process, in several, or on a cluster."""
