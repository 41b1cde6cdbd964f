"""What answers texts from a model folder or an exported file: the predictor, whole files, and the HTTP service."""
