"""Reads and patches the activations of the hooked model; gradients with respect to weights."""
