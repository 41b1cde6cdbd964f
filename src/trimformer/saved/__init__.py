"""What stands in the folder of a saved model, read without PyTorch and transformers."""
