"""The permutation flow shop behind every program, bound and heuristic, on integer tables alone.

Chunk times and sends, which lengths are allowed, completion times, and cheapest partitions.
"""
