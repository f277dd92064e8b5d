"""Solvers: one module per solver, and what they share. Importing this loads none of them."""
