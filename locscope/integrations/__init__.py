"""Other tools: Optuna, trackers, configurations of other libraries."""
