"""Make Transformer encoders smaller and faster without losing accuracy."""
