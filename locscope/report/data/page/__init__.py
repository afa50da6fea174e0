"""Rows of what the page alone has: bars of ranges, every location in detail, how to apply it."""
