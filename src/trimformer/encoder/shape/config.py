"""The shape of an encoder: what every layer is made of, and the configuration that stores it."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar, Literal

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from ...errors import TrimformerError
from ...saved.config import FORMAT_VERSION, MODEL_TYPE, Facts, SavedConfig, check_format
from ...saved.exits import ExitShape
from .kinds import ATTENTION, LAYERS, LINEAR, POSITIONS
from .ranges import from_ranges

SHARES = 10_000
"""A share of a text's tokens is counted in units of one in so many."""

Kept = int | float
"""Tokens that a layer hands on: a number of them, or a share of a text's tokens below 1."""


@dataclasses.dataclass(frozen=True)
class LayerShape:
    """Sizes of one encoder layer.

    attention: the kind of what mixes the tokens, one of those in ``encoder/parts/attention``.
    heads, head_size: the value width is ``heads * head_size``.
    query_key: with ``full``: dimensions of a head's queries and keys; None: as many as its values, ``head_size``.
    inputs: the dimensions of the layer's input that queries, keys and values read, such as ``0-3,6``; None: all.
    ffn: units of the feed-forward block; 0: only the bias of its output map is left, where it has one.
    window: with ``full``: a token attends to those at most ``window // 2`` away; None: to all.
    rotary: with ``full`` and rotary positions: the base of the angles.
    kernel: with ``conv``: tokens under the convolution, 3, 5, 7 or 9; else 0.
    own: what else the kind of attention has to know, by name; see there.
    cell: what the kind of layer has to know, by name; see ``encoder/parts/layers``.
    maps: the linear maps that are not dense, by name: ``{"ffn_in": {"kind": "low-rank", "rank": 64}}``.
    tokens: of a layer that attends: how many tokens it hands on, the first one and those that count most: at most so
        many, where it is a whole number, else the share of the text's own tokens, 0 < share <= 1, rounded down, at
        least one. None, or the share 1.0: all that it is given. No layer hands on more than it is given.
    """

    attention: str
    heads: int
    head_size: int
    ffn: int
    window: int | None = None
    rotary: float | None = None
    kernel: int = 0
    query_key: int | None = None
    inputs: str | None = None
    own: dict[str, Any] = dataclasses.field(default_factory=dict)
    maps: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    cell: dict[str, Any] = dataclasses.field(default_factory=dict)
    tokens: Kept | None = None

    def __post_init__(self) -> None:
        sizes = (self.heads, self.head_size, self.head_size if self.query_key is None else self.query_key)
        if min(sizes) < 1 or self.ffn < 0:
            raise TrimformerError(f"Layer sizes must be at least 1, ffn at least 0, got {self}.")
        if self.inputs is not None:
            from_ranges(self.inputs)
        kind = ATTENTION.find(self.attention)
        kind.check(self)
        self._check_tokens(kind.attends)
        for settings in self.maps.values():
            LINEAR.find(settings.get("kind", "")).check(settings)

    def _check_tokens(self, attends: bool) -> None:
        if self.tokens is None:
            return
        share = isinstance(self.tokens, float) and 0.5 <= self.tokens * SHARES <= SHARES
        if not share and (type(self.tokens) is not int or self.tokens < 1):
            raise TrimformerError(
                "A layer hands on a number of tokens, at least 1, or a share of them, at most 1.0, got "
                f"{self.tokens!r}."
            )
        if not attends:
            raise TrimformerError(
                f"A layer of kind {self.attention} does not attend, so that nothing tells which tokens count: leave "
                "tokens out, and let a layer that attends hand on fewer."
            )
        if share and self.tokens == 1:  # a file may write it as the number 1
            object.__setattr__(self, "tokens", None)

    def __hash__(self) -> int:
        return hash(repr(self))

    def to_dict(self) -> dict[str, Any]:
        """Plain values; what only a newer format knows is left out where it is not used."""
        values = dataclasses.asdict(self)
        newer = ("inputs", "own", "maps", "cell", "tokens")
        return {name: value for name, value in values.items() if value or name not in newer}

    @property
    def maps_outside_attention(self) -> dict[str, dict[str, Any]]:
        """Those of its linear maps that every kind of attention leaves alone."""
        return {name: given for name, given in self.maps.items() if not name.startswith("attention.")}

    @property
    def width(self) -> int:
        """Units of the value projection."""
        return self.heads * self.head_size

    @property
    def reads(self) -> tuple[int, ...] | None:
        """The dimensions of ``inputs``; None: all."""
        return None if self.inputs is None else from_ranges(self.inputs)

    def input_size(self, hidden: int) -> int:
        """How many dimensions queries, keys and values read of so many."""
        return hidden if self.reads is None else len(self.reads)

    @property
    def query_key_size(self) -> int:
        """Dimensions of a head's queries and keys."""
        return self.head_size if self.query_key is None else self.query_key

    @property
    def query_key_width(self) -> int:
        """Units of the query projection, and of the key projection."""
        return self.heads * self.query_key_size


@strict
class TrimformerConfig(Facts, PreTrainedConfig):
    """Configuration of the one encoder: sizes shared by all layers, and one :class:`LayerShape` for each layer.

    family: the architecture the weights came from, so that a uniform dense encoder can go back to it.
    positions: ``absolute`` numbers tokens from 0 (BERT); ``from_padding`` numbers the real tokens from
        ``pad_token_id + 1`` (RoBERTa); ``by_segment`` numbers the tokens of the first text of a pair from 0, and those
        of the second from ``passage_start``, however long the first is; ``none``: the embeddings know of no positions.
    embedding_size: width of the embedding tables, which a linear map then brings to ``hidden_size`` (ALBERT, ELECTRA);
        None: they are ``hidden_size`` wide and there is no such map.
    attention_positions: how positions enter attention beyond that, a mechanism in
        ``encoder/parts/positions``. Its settings: the number of
        buckets of distances (0: each distance has its own), the distance from which on all count as one, and for
        ``disentangled`` the products (``c2p``, ``p2c``), whether they use the layer's own query and key weights, and
        whether the table is normalised; for ``relative_bias`` the columns of its table, None: one for each head.
    layer_kind: how a layer is put together, one of those in ``encoder/parts/layers``.
    attention_bias, ffn_bias, norm_bias: whether these maps have a bias.
    split_layers: so many first layers see each text of a pair by itself, as its segments say, so that the states of one
        do not depend on the other and can be kept (``encoder/parts/apart.py``); 0: all layers see both.
    passage_start: the position of the first token of a second text, with ``by_segment``; where positions end before the
        text does, its last tokens have the last one.
    sharing: which layers have the same weights: layer i those of layer ``sharing[i]``, the first of its group (ALBERT);
        None: every layer has its own. Layers of a group differ at most in their attention kind.
    type_vocab_size: segments; 0: there is no segment table, and segments that are given are ignored (DistilBERT).
    classifier_act: activation of the first layer of a sequence classification head. pooler_dropout: before that layer.
        classifier_size: width of that layer's output; None: ``hidden_size``. classifier_pooling: what that head reads,
        the first token or the mean of all. classifier_bias: of its first layer. classifier_norm: as in ModernBERT that
        layer ends with a norm, and the heads for tokens and spans have it too.
    embedding: what an embedding model makes of the last states, see :class:`EmbeddingShape`; None with other heads.
    nested: the ``widths`` and ``depths`` of the sub-networks that it was trained to hold (``trim(model, width=0.5)``);
        None: it was not.
    exits: after which layers a text may leave and by which rule, see :class:`ExitShape`; None: every text goes through
        all layers.
    input_ranges: of a model that was trained for int8: the largest absolute input of each linear map, by its name in
        the encoder (``layers.0.ffn_out``) or ``head.``; they belong to these weights. None: it was not.
    """

    model_type: ClassVar[str] = MODEL_TYPE

    format_version: int = FORMAT_VERSION
    family: str = "bert"
    vocab_size: int = SavedConfig.vocab_size
    hidden_size: int = SavedConfig.hidden_size
    embedding_size: int | None = None
    max_position_embeddings: int = SavedConfig.max_position_embeddings
    type_vocab_size: int = SavedConfig.type_vocab_size
    positions: Literal["absolute", "from_padding", "by_segment", "none"] = "absolute"
    attention_positions: str = "none"
    relative_buckets: int = 32
    relative_span: int = 128
    relative_terms: list[str] | None = None
    relative_shares_weights: bool = False
    relative_norm: bool = False
    relative_heads: int | None = None
    layer_kind: str = "post-norm"
    split_layers: int = SavedConfig.split_layers
    passage_start: int = SavedConfig.passage_start
    attention_bias: bool = True
    ffn_bias: bool = True
    norm_bias: bool = True
    pad_token_id: int | None = SavedConfig.pad_token_id
    hidden_act: str = "gelu"
    hidden_dropout_prob: float | int = 0.1
    attention_probs_dropout_prob: float | int = 0.1
    classifier_dropout: float | int | None = None
    pooler_dropout: float | int = 0.0
    classifier_act: str = "tanh"
    classifier_size: int | None = None
    classifier_pooling: Literal["cls", "mean"] = "cls"
    classifier_bias: bool = True
    classifier_norm: bool = False
    embedding: dict | None = None
    nested: dict | None = None
    exits: dict | None = None
    input_ranges: dict | None = None
    layer_norm_eps: float = 1e-12
    initializer_range: float = 0.02
    layers: list[dict] | None = None
    sharing: list[int] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        check_format(self.format_version)
        if kwargs.pop("pre_norm", False):  # how format 1 says it
            self.layer_kind = "pre-norm"
        kind = LAYERS.find(self.layer_kind)
        POSITIONS.find(self.attention_positions)
        shapes = [LayerShape(**layer) for layer in self.layers or []]
        for index, shape in enumerate(shapes):
            kind.check(shape)
            if shape.reads is not None and shape.reads[-1] >= self.hidden_size:
                raise TrimformerError(
                    f"Layer {index} reads the dimensions {shape.inputs}, but there are {self.hidden_size}: leave out "
                    "those above."
                )
        self.layers = [shape.to_dict() for shape in shapes]
        newer = any(shape.own or shape.maps or shape.inputs or shape.tokens for shape in shapes)
        newer = newer or self.layer_kind != "post-norm"
        self.format_version = 2 if newer or self.relative_heads is not None else 1
        self._check_sharing()
        self._check_split()
        for shape in shapes:
            ATTENTION[shape.attention].check_in(self, shape)
        if self.exits is not None:
            exits = ExitShape.read(self.exits)
            exits.check_layers(len(shapes))
            if exits.reads == "mean" and any(shape.tokens is not None for shape in shapes):
                raise TrimformerError(
                    "Layers of this encoder hand on fewer tokens, and its exits read the mean over all: let them read "
                    "what the head reads."
                )
            self.exits = exits.to_dict()
        for name, largest in (self.input_ranges or {}).items():
            if not isinstance(largest, int | float) or not 0 <= largest < math.inf:
                raise TrimformerError(
                    f"input_ranges has {largest!r} for {name}, not a number of at least 0: use the config.json that "
                    "was saved with the weights."
                )
        super().__post_init__(**kwargs)

    def _check_sharing(self) -> None:
        if self.sharing is None:
            return
        alike = [
            dataclasses.replace(
                shape, attention="none", kernel=0, own={}, maps=shape.maps_outside_attention, tokens=None
            )
            for shape in self.shapes
        ]
        if len(self.sharing) != len(alike) or any(
            not 0 <= first <= index or self.sharing[first] != first or alike[first] != alike[index]
            for index, first in enumerate(self.sharing)
        ):
            raise TrimformerError(
                f"sharing must name for each of the {len(alike)} layers the first layer of its group, whose sizes are "
                f"the same, got {self.sharing}."
            )
        groups: dict[tuple[int, str], LayerShape] = {}
        for first, shape in zip(self.sharing, self.shapes, strict=True):
            known = groups.setdefault((first, shape.attention), shape)
            if (known.kernel, known.own, known.maps) != (shape.kernel, shape.own, shape.maps):
                raise TrimformerError(
                    f"Layers that share their weights must have the same kernel, own settings and maps where they are "
                    f"{shape.attention}."
                )

    def _check_split(self) -> None:
        if not 0 <= self.split_layers <= max(0, self.num_hidden_layers - 1):
            raise TrimformerError(
                f"split_layers is {self.split_layers}, but of {self.num_hidden_layers} layers at least the last one "
                f"must see both texts: set it to 0 to {max(0, self.num_hidden_layers - 1)}."
            )
        if self.split_layers and (self.exits is not None or any(shape.tokens is not None for shape in self.shapes)):
            what = "layers that hand on fewer tokens" if self.exits is None else "exits"
            raise TrimformerError(
                f"A model whose first layers see each text of a pair by itself (split_layers) cannot have {what}: use "
                "one of the two."
            )
        room = self.max_position_embeddings if self.positions == "by_segment" else 1
        if not 0 <= self.passage_start < room:
            raise TrimformerError(
                f"passage_start is {self.passage_start}, the position of the first token of a second text, of which "
                f"this model has {room}: set it to {f'0 to {room - 1}' if room > 1 else 0}."
            )
        numbered = (self.positions, self.attention_positions) == ("by_segment", "none")
        if self.split_layers and not (numbered and self.type_vocab_size > 1):
            raise TrimformerError(
                "The first layers see each text of a pair by itself (split_layers) only where segments tell the texts "
                "apart and positions are numbered by_segment, in the embeddings alone: use the config.json that was "
                "saved with the weights."
            )

    @property
    def shapes(self) -> tuple[LayerShape, ...]:
        """The shape of each layer, first layer first."""
        return tuple(LayerShape(**layer) for layer in self.layers or [])

    @property
    def num_hidden_layers(self) -> int:
        return len(self.layers or [])

    @property
    def last_mixing(self) -> int:
        """The last layer that mixes the tokens, -1 where none does: after it each token goes its own way."""
        mixes = LAYERS[self.layer_kind].mixes
        mixing = [index for index, shape in enumerate(self.shapes) if mixes or ATTENTION[shape.attention].mixes]
        return mixing[-1] if mixing else -1

    @property
    def first_alone(self) -> int:
        """The layer that gives the first token alone under a head that reads no other: the last one that mixes the
        tokens, or the one after the last exit that reads all of them."""
        return max(self.last_mixing, 0 if self.exits is None else ExitShape.read(self.exits).all_read)

    def with_shapes(self, shapes: tuple[LayerShape, ...] | list[LayerShape]) -> TrimformerConfig:
        """A copy of this configuration with other layers."""
        return type(self).from_dict(self.to_dict() | {"layers": [s.to_dict() for s in shapes]})
