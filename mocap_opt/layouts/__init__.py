"""Layouts as decisions: what may be chosen, and bounds that hold for many layouts at once."""
