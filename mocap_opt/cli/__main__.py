"""``python -m mocap_opt.cli`` is the same as ``mocap-opt``."""

from mocap_opt.cli.main import main

main()
