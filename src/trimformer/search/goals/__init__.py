"""What a search is for: the fastest file, or the smallest."""
