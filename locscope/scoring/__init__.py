"""Numbers from numbers: scores and bounds, statistics, and when an answer counts as given."""
