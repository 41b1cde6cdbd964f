"""Everything a run needs, as strict settings in YAML."""
