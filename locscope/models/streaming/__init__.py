"""Models whose blocks are on the device only while they run."""
