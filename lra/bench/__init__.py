"""Benchmarks: the subjects that are timed, the processes that time them, and the figures from their samples."""
