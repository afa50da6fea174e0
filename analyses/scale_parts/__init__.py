"""Parts of `analyses.bench_scale` and `analyses.scaling`."""
