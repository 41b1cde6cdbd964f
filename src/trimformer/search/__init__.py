"""The autopilot: the fastest model of an encoder that loses little enough, found, trained, exported and tested.

``space`` says what can be removed together, ``sensitivity`` what matters, ``predictor`` the time and the cost of each
combination, ``shortlist`` which of them are trained, ``schedule`` for how long, and ``executors`` by whom.
"""
