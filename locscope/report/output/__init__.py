"""The page, the terminal's tables, the comparison of runs, the model card."""
