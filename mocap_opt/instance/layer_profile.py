"""What each layer keeps and sees, read from the profile of a model (formulations/profiles.md)."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from mocap_opt.instance.schema import ModelSpec
from mocap_opt.units import exact


@dataclass(frozen=True)
class HeadGroup:
    """Key-value heads of a layer that see the same positions.

    Attributes
    ----------
    part : Fraction
        Their part of the layer's KV heads, and of its query heads.
    window : int or None
        Kept positions a query sees, its own included; None: all.
    chunk : int or None
        Size of the block of kept positions of which a query sees its own; None: no blocks.
    ring : bool
        Whether memory holds the window only.
    chosen : bool
        Whether an indexer chooses the positions that a query sees, so that a chunk reads all of them.
    """

    part: Fraction
    window: int | None = None
    chunk: int | None = None
    ring: bool = False
    chosen: bool = False

    @property
    def reach(self) -> int | None:
        """Kept positions that a query sees at most; None: all."""
        return self.window if self.chunk is None else self.chunk


@dataclass(frozen=True)
class LayerShare:
    """What a layer keeps and sees.

    Attributes
    ----------
    keep : Fraction
        s_n, the share of the tokens it works on.
    groups : tuple of HeadGroup
        Their parts add up to 1.
    """

    keep: Fraction = Fraction(1)
    groups: tuple[HeadGroup, ...] = (HeadGroup(Fraction(1)),)

    def span(self, group: HeadGroup) -> int:
        """W' = ceil(w / s_n): tokens that the window of a group spans; the group has one."""
        assert group.reach is not None
        return ceil(group.reach / self.keep)


PLAIN = LayerShare()
"""A layer that keeps and sees all."""


def layer_shares(model: ModelSpec, context: int) -> tuple[LayerShare, ...]:
    """Return what each layer keeps and sees; a window that spans the whole context is none.

    Parameters
    ----------
    model : ModelSpec
    context : int
        P + S, tokens.
    """
    shares = [PLAIN] * model.layers
    for entry in model.profile:
        keep = exact(entry.keep)
        groups, left = [], model.kv_heads
        for each in entry.windows:
            reach = each.tokens if each.chunk is None else each.chunk
            assert reach is not None
            if reach >= keep * context:
                continue
            part = Fraction(each.kv_heads, model.kv_heads)
            groups.append(HeadGroup(part, each.tokens, each.chunk, entry.hold == "window"))
            left -= each.kv_heads
        if left:
            groups.insert(0, HeadGroup(Fraction(left, model.kv_heads)))
        share = LayerShare(keep, tuple(groups))
        first, last = entry.layers
        shares[first : last + 1] = [share] * (last + 1 - first)
    if model.sparse is not None and model.sparse.top_k < context:
        sparse = (HeadGroup(Fraction(1), model.sparse.top_k, chosen=True),)
        shares = [LayerShare(each.keep, sparse) for each in shares]
    return tuple(shares)


def unprofiled(model: ModelSpec) -> bool:
    """Whether every layer keeps and sees all, by the way the model is written."""
    return not model.profile and model.sparse is None


def prompt_selection(model: ModelSpec) -> int | None:
    """The entry of the profile that chooses tokens among the whole prompt; None: none does."""
    return next((n for n, entry in enumerate(model.profile) if entry.selection == "prompt"), None)


def kept_tokens(keep: float, tokens: int) -> int:
    """Tokens of a prompt that layers keep, rounded up: ceil(s_n S).

    Parameters
    ----------
    keep : float
        s_n.
    tokens : int
        S.
    """
    return ceil(exact(keep) * tokens)
