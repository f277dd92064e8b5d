"""Chunk boundaries: least longest chunk times, and searches over counts of chunks."""
