"""The body of the one encoder: a Transformer in which every layer has its own shape."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ...errors import TrimformerError
from ...quiet import no_foreign_bars
from ..parts.apart import Apart
from ..parts.axes import Axes
from ..parts.baked import require_baked
from ..parts.components import Component
from ..parts.embeddings import Embeddings
from ..parts.layers.base import Layer
from ..parts.norms import layer_norm, normed
from ..parts.positions.base import mechanism_of
from ..parts.tokens import Tokens
from ..parts.trace import BodyOutput
from ..shape.config import TrimformerConfig
from ..shape.gates import Gates
from ..shape.kinds import LAYERS
from .packed_folders import pack_folder, with_unpacked


def share(layers: Iterable[nn.Module], groups: Sequence[int]) -> None:
    """Let layers, or their attention, of the same group hold the same modules; the first that has one gives it on.

    A ``mean`` layer has no query and key, so that those of its group may belong to a later layer; and so on.
    """
    owners: dict[tuple[int, str, type], nn.Module] = {}
    for layer, group in zip(layers, groups, strict=True):
        for name in [name for name, module in layer.named_modules() if name and _is_whole(layer, name, module)]:
            module = layer.get_submodule(name)
            layer.set_submodule(name, owners.setdefault((group, name, type(module)), module))


def _is_whole(layer: nn.Module, name: str, module: nn.Module) -> bool:
    """Whether a part names this module among its weights: it is shared as it is, whatever is inside."""
    parent, _, leaf = name.rpartition(".")
    owner = layer.get_submodule(parent) if parent else layer
    return leaf in getattr(owner, "axes", {}) and next(module.parameters(), None) is not None


class TrimformerPreTrainedModel(PreTrainedModel):
    """Loading and saving, shared by the body and the heads."""

    config: TrimformerConfig
    config_class = TrimformerConfig
    base_model_prefix = "encoder"
    _supports_sdpa = True
    _no_split_modules = ["PostNormLayer", "PreNormLayer"]  # noqa: RUF012  (read by transformers)

    @property
    def _tied_weights_keys(self) -> dict[str, str]:  # type: ignore[override]
        """Further names of shared weights -> the first; transformers saves and loads only the first."""
        first: dict[int, str] = {}
        names = [(name, first.setdefault(id(p), name)) for name, p in self.named_parameters(remove_duplicate=False)]
        return {name: source for name, source in names if name != source}

    def get_expanded_tied_weights_keys(self, all_submodels: bool = False) -> dict[str, str]:
        return self._tied_weights_keys

    def save_pretrained(self, *args: Any, **kwargs: Any) -> None:
        """Save as transformers does, with weights packed where that is smaller (see ``encoder/packing``).

        Raises TrimformerError for weights under transformation, and for ``push_to_hub=True``, which uploads before.
        """
        require_baked(self, "saved")
        if kwargs.get("push_to_hub"):
            raise TrimformerError(
                "save_pretrained cannot push to the hub, because weights are packed after transformers has saved them: "
                "use push_to_hub of the model."
            )
        with no_foreign_bars():
            super().save_pretrained(*args, **kwargs)
        if kwargs.get("is_main_process", True):
            pack_folder(Path(args[0] if args else kwargs["save_directory"]))

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """Load as :meth:`transformers.PreTrainedModel.from_pretrained` does, and verify that the weights fit the shape.

        Raises TrimformerError where a weight of the encoder or of an exit is missing, left over or of another size; a
        missing task head is allowed (it starts random, as everywhere in transformers).
        """
        wants_info = kwargs.pop("output_loading_info", False)
        source = args[0] if args else kwargs.get("pretrained_model_name_or_path")
        args, kwargs = with_unpacked(cls.config_class, args, kwargs)
        try:
            with no_foreign_bars():
                loaded: Any = super().from_pretrained(*args, output_loading_info=True, **kwargs)
        except RuntimeError as error:
            if "size" not in str(error) and "shape" not in str(error):
                raise
            raise TrimformerError(
                f"The weights in {source} do not fit the shape in its config.json: {_first_line(error)}"
            ) from error
        model, info = loaded
        if source is not None:  # packed weights are given to transformers without their folder
            model.name_or_path = model.config._name_or_path = str(source)
        prefix = f"{cls.base_model_prefix}."
        body = {k for k in info["missing_keys"] if k.startswith((prefix, "exits.")) or cls is TrimformerModel}
        if body or info["unexpected_keys"]:
            wrong = [f"{sorted(body)[0]} is missing"] if body else []
            # A body loaded from a checkpoint with a head leaves the head over; that is asked for, not an error.
            extra = [
                k for k in info["unexpected_keys"] if not (cls is TrimformerModel and k.startswith(("head.", "exits.")))
            ]
            wrong += [f"{sorted(extra)[0]} is not in the shape"] if extra else []
            if wrong:
                raise TrimformerError(
                    f"The weights in {source} do not fit the shape in its config.json: {' and '.join(wrong)}; "
                    "use the config.json that was saved with these weights."
                )
        return (model, info) if wants_info else model


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if "size" in line or "shape" in line]
    return lines[-1] if lines else str(error)


class TrimformerModel(TrimformerPreTrainedModel):
    """The body: token ids (batch, n) -> last hidden state (batch, n, hidden)."""

    axes: ClassVar[dict[str, Axes]] = {"norm": ("hidden",)}
    components: ClassVar[dict[str, Component]] = {"positions": Component.ATTENTION, "norm": Component.FEED_FORWARD}
    _keys_to_ignore_on_load_unexpected = [r"^head\.", r"^exits\."]  # noqa: RUF012  (read by transformers)

    def __init__(self, config: TrimformerConfig) -> None:
        super().__init__(config)
        self.frozen: tuple[nn.Module, ...] = ()
        self.embeddings = Embeddings(config)
        self.positions = mechanism_of(config)
        self.last_mixing = config.last_mixing
        kind = LAYERS[config.layer_kind]
        layers: list[Layer] = [kind(config, shape, first=index == 0) for index, shape in enumerate(config.shapes)]
        if config.sharing is not None:
            share(layers, config.sharing)
        self.layers = nn.ModuleList(layers)
        self.norm = layer_norm(config) if kind.final_norm else nn.Identity()
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        gates: Gates | None = None,
        output_hidden_states: bool = False,
        return_dict: Literal[True] = True,
        first_only: bool = False,
        output_trace: bool = False,
        known_states: Sequence[Tensor] = (),
    ) -> BodyOutput:
        """Run the encoder.

        attention_mask: (batch, n), 1 = real token. gates: see :class:`Gates`. With ``output_hidden_states`` the
        embedding output and the output of each layer (of the last: after the final norm, where there is one) come
        back too, each (batch, n, hidden). return_dict: libraries that use bodies of all kinds, such as
        sentence-transformers, ask for it. first_only: only the first token's last hidden state is wanted, (batch, 1,
        hidden): after the last layer that mixes the tokens no other is computed. Not together with hidden states or
        trace. output_trace: the trace comes back too, an :class:`AttentionTrace` or None for each layer; None, too, for
        layers that see each text of a pair by itself.
        known_states: the outputs of the first layers, (batch, n, hidden) each, where these need not be computed; not
        together with a trace.
        """
        hidden = None if gates is None else gates.hidden
        split = self.config.split_layers
        x, tokens = self.begin(input_ids, attention_mask, token_type_ids, hidden, output_trace)
        states = [x, *known_states]
        if len(known_states) < split:
            apart = self._apart(states[-1], len(known_states), attention_mask, token_type_ids, gates)
            states += apart if output_hidden_states else apart[-1:]
        x = states[-1]
        for index in range(max(len(known_states), split), len(self.layers)):
            x, tokens = self.step(index, x, tokens, gates, first_only and index == max(self.last_mixing, split))
            if output_hidden_states:
                states.append(x)
        x = normed(self.norm, x, hidden)
        return BodyOutput(
            last_hidden_state=x,
            hidden_states=(*states[:-1], x) if output_hidden_states else None,
            trace=None if tokens.trace is None else tuple(tokens.trace.get(layer.attention) for layer in self.layers),
        )

    def begin(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None,
        token_type_ids: Tensor | None,
        hidden: Tensor | None = None,
        traced: bool = False,
    ) -> tuple[Tensor, Tokens]:
        """The embeddings, (batch, n, hidden), and what travels with them through the layers. hidden: gates."""
        x = self.embeddings(input_ids, token_type_ids, hidden)
        return x, Tokens(x, attention_mask, self.positions, traced=traced)

    def step(
        self, index: int, x: Tensor, tokens: Tokens, gates: Gates | None = None, first_only: bool = False
    ) -> tuple[Tensor, Tokens]:
        """One layer that sees all texts of a row. first_only: no other token is read from here on."""
        if first_only:
            tokens = tokens.ask(first=1)
            if index > self.last_mixing:  # no layer from here on mixes the tokens
                x, tokens = tokens.of(x), tokens.left()
        found: tuple[Tensor, Tokens] = self.layers[index](x, tokens, None if gates is None else gates.layer(index))
        return found

    def lower(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """What the layers that see each text by itself make of texts: (batch, n) -> (batch, n, hidden).

        A text that stands alone in its row gets the same states as in a pair, where its segments are the same there.
        """
        x: Tensor = self.embeddings(input_ids, token_type_ids)
        split = self.config.split_layers
        return self._apart(x, 0, attention_mask, token_type_ids, None)[-1] if split else x

    def _apart(
        self,
        x: Tensor,
        first: int,
        attention_mask: Tensor | None,
        token_type_ids: Tensor | None,
        gates: Gates | None,
    ) -> list[Tensor]:
        """The outputs of the layers from this one on that see each text by itself, each (batch, n, hidden)."""
        last = self.config.split_layers
        for name in ("positions", "contributions"):
            given = None if gates is None else gates.given.get(name)
            if given is not None and any(own is not None for own in given[:last]):
                raise TrimformerError(
                    f"Layers that see each text of a pair by itself take no gates of {name}, which are those of pairs "
                    f"of tokens: give them to the layers from {last} on alone."
                )
        types = x.new_zeros(x.shape[:2], dtype=torch.long) if token_type_ids is None else token_type_ids
        apart = Apart(attention_mask, types)
        found: list[list[Tensor]] = [[] for _ in range(first, last)]
        for text in apart.texts:
            y = text.of(x)
            tokens = Tokens(y, text.mask)
            for states, index in zip(found, range(first, last), strict=True):
                y, tokens = self.layers[index](y, tokens, None if gates is None else gates.layer(index))
                states.append(y)
        return [apart.joined(states) for states in found]

    def freeze(self, layers: int) -> None:
        """Train neither the embeddings nor the first layers from now on, and drop nothing in them."""
        self.frozen = (self.embeddings, *((self.positions, *self.layers[:layers]) if layers else ()))
        for module in self.frozen:
            module.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        for module in self.frozen:
            module.eval()
        return self

    def get_input_embeddings(self) -> nn.Embedding:
        return self.embeddings.word
