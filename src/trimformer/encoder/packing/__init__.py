"""How weights are written: one file for each packing, which holds some tensors in fewer bytes and gives them back."""
