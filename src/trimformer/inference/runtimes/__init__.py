"""The runtimes that open an exported file, one file each; they need their own package and numpy."""
