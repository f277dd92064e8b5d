"""Local search on whole plans: boundaries and homes together, waits, orders of requests."""
