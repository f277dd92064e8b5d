"""Profiles of layers: what they keep and see (formulations/profiles.md)."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from mocap_opt.instance import ModelSpec
from mocap_opt.instance.layer_profile import HeadGroup, layer_shares

SMALL = {
    "layers": 3,
    "hidden": 8,
    "heads": 4,
    "kv_heads": 4,
    "head_dim": 2,
    "ffn": 16,
    "vocabulary": 10,
}


def model(*profile: object, **changes: object) -> ModelSpec:
    return ModelSpec.model_validate({**SMALL, "profile": list(profile), **changes})


def test_window_of_two():
    """Known: four tokens, a window of two: 0 1 3 5 7 pairs."""
    group = HeadGroup(Fraction(1), window=2)
    assert [group.pairs(Fraction(u)) for u in range(5)] == [0, 1, 3, 5, 7]


@given(st.integers(0, 60), st.integers(1, 20), st.booleans())
def test_pairs_are_those_that_queries_see(tokens: int, reach: int, blocks: bool):
    group = HeadGroup(Fraction(1), None if blocks else reach, reach if blocks else None)
    seen = (
        sum(1 for key in range(query + 1) if key // reach == query // reach)
        if blocks
        else sum(1 for key in range(query + 1) if query - key < reach)
        for query in range(tokens)
    )
    assert group.pairs(Fraction(tokens)) == sum(seen)


def test_groups_of_layers():
    window = {"kv_heads": 3, "tokens": 4}
    shares = layer_shares(model({"layers": [1, 2], "keep": 0.5, "windows": [window], "hold": "all"}), 20)
    assert shares[0].keep == 1
    assert shares[0].groups == (HeadGroup(Fraction(1)),)
    assert shares[1] == shares[2]
    assert shares[1].groups == (HeadGroup(Fraction(1, 4)), HeadGroup(Fraction(3, 4), window=4))
    assert shares[1].span(shares[1].groups[1]) == 8


def test_window_of_everything_is_none():
    window = {"kv_heads": 4, "tokens": 10}
    entry = {"layers": [0, 2], "keep": 0.5, "windows": [window]}
    assert [len(s.groups) for s in layer_shares(model(entry), 20)] == [1, 1, 1]
    assert layer_shares(model(entry), 20)[0].groups[0].window is None
    assert layer_shares(model(entry), 21)[0].groups == (HeadGroup(Fraction(1), window=10, ring=True),)


def test_sparse_attention_sees_the_best_keys():
    sparse = {"top_k": 4, "index_heads": 1, "index_dim": 2}
    shares = layer_shares(model(sparse=sparse), 20)
    assert shares == (shares[0],) * 3
    assert shares[0].groups == (HeadGroup(Fraction(1), window=4),)
