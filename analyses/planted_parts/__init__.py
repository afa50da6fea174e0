"""The parts of `analyses.planted`: lessons, planting, control, scanning, judging, report."""
