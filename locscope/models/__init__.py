"""Models: names to directories, directories to weights in memory, locations to exact weights."""
