"""From an instance to integer tables; the only rounding in the project happens here."""

from mocap_opt.tables.build import build_tables

__all__ = ["build_tables"]
