"""Scans by intervention: forward passes in which a state is restored or a component ablated."""
