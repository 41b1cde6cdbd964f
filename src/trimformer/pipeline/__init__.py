"""Runs the stages of a recipe in a folder that can be resumed."""
