"""The parts of `analyses/race.py`."""
