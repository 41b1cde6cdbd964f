"""How a layer is put together: one file for each kind."""
