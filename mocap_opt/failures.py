"""Failures that must not end a whole solve: what they are called, and whether tests see them."""

from __future__ import annotations

import traceback
from pathlib import Path

surface = False
"""Whether an unexpected failure of one part is raised instead of noted; tests set it, so that none hides."""


def described(error: BaseException) -> str:
    """An error in one line: its type, what it says and where in this package it was raised."""
    package = Path(__file__).parent
    frames = traceback.extract_tb(error.__traceback__)
    inside = [frame for frame in frames if package in Path(frame.filename).parents]
    text = " ".join(str(error).split())
    said = f"{type(error).__name__}{': ' if text else ''}{text}"
    if not frames:
        return said
    last = (inside or frames)[-1]
    return f"{said} ({'/'.join(Path(last.filename).parts[-2:])}:{last.lineno})"
