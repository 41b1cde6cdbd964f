"""Methods that search for an architecture, and the baselines that any search must beat."""
