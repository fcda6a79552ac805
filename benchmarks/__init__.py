"""Benchmarks: one file a question, each run as `python -m benchmarks.NAME`, with --json for a machine to read. Figures: results.md."""
