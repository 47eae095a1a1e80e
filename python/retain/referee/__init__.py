"""The referee: makes a benchmark of any git history and lets contestants answer it. See docs/benchmark.md."""
