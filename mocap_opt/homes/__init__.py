"""Homes of KV cache for given chunk boundaries: greedy rules, thresholds, linear programs and CP-SAT."""
