"""Tables of `analyses/facts.py`: facts of common knowledge, with their wordings."""
