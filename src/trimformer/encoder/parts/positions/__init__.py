"""How positions enter attention: one file for each mechanism."""
