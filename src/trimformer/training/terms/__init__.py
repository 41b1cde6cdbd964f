"""The terms of the objective, one in each file; base.py says how to add one."""
