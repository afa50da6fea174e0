"""Groups of tasks, plain data, to records; here or elsewhere."""
