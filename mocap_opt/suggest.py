"""Near misses: what a mistyped name was probably meant to be."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def close_to(given: object, known: Iterable[str]) -> str:
    """Return ``did you mean "..."?`` if one of `known` resembles what was given, else nothing."""
    near = difflib.get_close_matches(str(given)[:100].lower(), list(known), n=1, cutoff=0.6)
    return f'did you mean "{near[0]}"?' if near else ""
