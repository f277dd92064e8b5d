"""Sequences of requests: what they are, when they are feasible, how good they can be."""
