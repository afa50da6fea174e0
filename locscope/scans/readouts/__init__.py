"""Scans of the untouched model: what can be read off its activations, layer by layer."""
