"""Encoders on disk: the supported families, loading, saving, bare shapes."""
