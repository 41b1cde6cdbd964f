"""Wall-clock: models side by side, under every back-end."""
