"""Chunk lengths in the form serving engines take them."""

from __future__ import annotations

from itertools import pairwise

import click

from mocap_opt.errors import InputError, Problem
from mocap_opt.schedule.plan import Plan

chunk_list_option = click.option(
    "--chunk-list",
    is_flag=True,
    help="Print the lengths of the chunks alone on standard output: tokens, first to last, separated by "
    "commas.  The first one is what engines with a single setting take (SGLang --chunked-prefill-size, "
    "vLLM and ATOM --max-num-batched-tokens).",
)


def print_chunk_list(plan: Plan | None, reason: str | None) -> None:
    """Print the lengths alone on standard output; without a plan nothing there, and why on standard error."""
    if plan is None:
        click.echo(f"mocap-opt: no chunks to list: {reason or 'no plan found'}", err=True)
    else:
        click.echo(",".join(str(b - a) for a, b in pairwise(plan.boundaries)))


def refuse_with_chunk_list(asked: bool, others: dict[str, bool]) -> None:
    """Refuse what would print beside the list, or has no single list.

    Parameters
    ----------
    asked : bool
        Whether the list is wanted.
    others : dict of str to bool
        Options and other causes, and whether they are there.

    Raises
    ------
    InputError
        Listing those that are.
    """
    found = [name for name, there in others.items() if asked and there]
    if found:
        raise InputError(
            [Problem("--chunk-list", f"{name} with it", "only one of the two") for name in found]
        )
