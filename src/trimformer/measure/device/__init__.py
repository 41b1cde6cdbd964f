"""Tables of the device, which predict the milliseconds of any shape."""
