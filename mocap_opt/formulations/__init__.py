"""The programs: one module per page of ``formulations/``."""
