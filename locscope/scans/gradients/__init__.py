"""Scans by gradients: what a small change of weights or activations would do, to first order."""
