"""What matters in a fine-tuned model on given data, what it costs here, and what to do about it; without training."""
