"""What one family of Hugging Face configurations calls things: a row of the table of families."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mocap_opt.instance.hf_layers import SLIDING, Rule
from mocap_opt.instance.hf_reader import ConfigReader

SILU = ("silu", "swish")
GELU = ("gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "gelu_tanh", "gelu_pytorch", "quick_gelu")
RELU2 = ("relu2",)

USUAL: Mapping[str, str] = {
    "layers": "num_hidden_layers",
    "hidden": "hidden_size",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "head_dim": "head_dim",
    "ffn": "intermediate_size",
    "vocabulary": "vocab_size",
    "activation": "hidden_act",
}
"""What most files call a figure."""

LATENT_FIELDS = ("kv_lora_rank", "q_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim")
INDEXER_FIELDS = ("index_topk", "index_n_heads", "index_head_dim")


@dataclass(frozen=True)
class ExpertFields:
    """Where a family says what its experts are.

    Attributes
    ----------
    count, active, ffn : str
        Fields: routed experts of a layer, those that a token visits, the width of one.
    rule : Rule or None
        Which layers have experts; None: all.
    shared : str or int
        Field with the number of shared experts, as wide as the routed ones, or that number.
    shared_width : str
        Field with the width of one shared expert; empty: there is none.
    """

    count: str
    active: str
    ffn: str
    rule: Rule | None = None
    shared: str | int = 0
    shared_width: str = ""

    @property
    def fields(self) -> tuple[str, ...]:
        """All fields it reads."""
        names = (self.count, self.active, self.ffn, self.shared, self.shared_width)
        own = tuple(name for name in names if isinstance(name, str) and name)
        return own if self.rule is None else (*own, *self.rule.fields)


@dataclass(frozen=True)
class WindowFields:
    """Where a family says which layers see a window of the tokens before.

    Attributes
    ----------
    rule : Rule
        Which layers do where ``layer_types`` does not list them.
    size : str
        Field with the window's size.
    switch : str
        Field that must be true for windows to be in use; empty: there is none.
    kind : str
        Of these layers in ``layer_types``; says whether the window slides or stands in blocks.
    """

    rule: Rule
    size: str = "sliding_window"
    switch: str = ""
    kind: str = SLIDING

    @property
    def fields(self) -> tuple[str, ...]:
        """All fields it reads."""
        return tuple(name for name in (self.size, self.switch, *self.rule.fields) if name)


@dataclass(frozen=True)
class Family:
    """A row of the table: which fields of a file mean what.

    Attributes
    ----------
    types : tuple of str
        Values of ``model_type``.
    title : str
        Models in this form, for people.
    fields : mapping
        What the file calls a figure, where that is not the usual name.
    defaults : mapping
        What the configuration class takes for fields that a file leaves out.
    activations : tuple of str
        Activations that the family's feed-forward networks have; empty: nothing is asked.
    gated : bool
        Whether these networks have a gate.
    latent, indexer : bool
        Whether attention is latent, and whether an indexer chooses the keys.
    experts : ExpertFields or None
    windows : WindowFields or None
    fixed : mapping
        Fields that must have this value, or be absent.
    alike : mapping
        Fields that repeat another, which is named; they must agree.
    further : tuple of str
        Further fields that are read.
    harmless : str
        Further fields that cost nothing, separated by spaces.
    kv_heads : callable or None
        KV heads from a reader and the number of heads, where they are not one field.
    ffn_multiple : int
        Width of the feed-forward networks over that of the residual stream where the file gives none;
        0: it must.
    left_out : str
        What these models have and the costs do not, in words.
    """

    types: tuple[str, ...]
    title: str
    fields: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    activations: tuple[str, ...] = SILU
    gated: bool = True
    latent: bool = False
    indexer: bool = False
    experts: ExpertFields | None = None
    windows: WindowFields | None = None
    fixed: Mapping[str, Any] = field(default_factory=dict)
    alike: Mapping[str, str] = field(default_factory=dict)
    further: tuple[str, ...] = ()
    harmless: str = ""
    kv_heads: Callable[[ConfigReader, int], int] | None = None
    ffn_multiple: int = 0
    left_out: str = ""

    def name_of(self, figure: str) -> str:
        """The field that holds a figure."""
        return self.fields.get(figure, USUAL[figure])

    @property
    def read_fields(self) -> frozenset[str]:
        """Fields that figures are made of."""
        names = {self.name_of(figure) for figure in USUAL}
        names |= {"model_type", "dtype", "torch_dtype", "quantization_config", "layer_types"}
        names |= {
            "sliding_window",
            "use_sliding_window",
            "max_window_layers",
            *self.further,
            *self.fixed,
            *self.alike,
        }
        for part in (self.experts, self.windows):
            names |= {*part.fields} if part is not None else set()
        names |= {*LATENT_FIELDS} if self.latent else set()
        names |= {*INDEXER_FIELDS} if self.indexer else set()
        return frozenset(names)

    @property
    def understood(self) -> frozenset[str]:
        """Fields that are read or known to cost nothing."""
        return self.read_fields | frozenset(self.harmless.split())
