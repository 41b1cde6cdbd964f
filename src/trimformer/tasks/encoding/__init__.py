"""From rows to arrays of token ids: tokenising each form of input, the file that keeps them, padded batches."""
