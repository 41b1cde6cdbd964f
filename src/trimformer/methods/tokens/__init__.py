"""Methods that change which tokens a model knows."""
