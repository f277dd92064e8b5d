"""The command line: ``mocap-opt``.

Commands are private functions in the module's ``COMMANDS``: their parameters are options, described where
they are declared.
"""

from mocap_opt.cli.main import main

__all__ = ["main"]
