"""The parts of `analyses.bench_planted`: lessons, planting, control, scanning, judging, report."""
