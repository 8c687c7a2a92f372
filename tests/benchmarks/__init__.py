"""Benchmarks: `python -m tests.benchmarks` runs them all and prints one table of ratios."""
