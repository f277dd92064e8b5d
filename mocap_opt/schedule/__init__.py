"""Throughput: identical requests without end, a fixed number of slots apart (formulations/period.md)."""
