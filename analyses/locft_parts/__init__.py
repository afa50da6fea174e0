"""Parts of `analyses/reproduce_locft.py`: the published figures, the runs, the page."""
