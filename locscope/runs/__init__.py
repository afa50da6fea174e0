"""The run folder: its lock and settings, records on disk, and what is rebuilt from them."""
