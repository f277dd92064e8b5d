"""Decisions of a plan, of a stream of requests and of a period; whether they are feasible; their files."""
