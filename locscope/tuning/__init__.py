"""Tuning: the breadth-first tuner, depth-first for comparison, and the trial around them."""
