"""Whether the scans said what tuning then showed."""
