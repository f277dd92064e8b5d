"""The command line: ``mocap-opt``."""

from mocap_opt.cli.main import main

__all__ = ["main"]
