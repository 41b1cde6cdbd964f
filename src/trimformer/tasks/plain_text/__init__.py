"""Plain text as rows of token ids: read as a stream, tokenised once onto the disk, masked anew in each pass."""
