"""The autopilot: the fastest model of an encoder that loses little enough, found, trained, exported and tested."""
