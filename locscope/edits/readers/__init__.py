"""Readers of edit formats: `(row) -> Edit`, each named by its entry in `FORMATS`."""
