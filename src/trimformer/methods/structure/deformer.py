"""The first layers see each text of a pair by itself, so that what they make of a passage can be kept.

Cao, Trivedi, Balasubramanian and Balasubramanian, "DeFormer: Decomposing Pre-trained Transformers for Faster Question
Answering", 2020: layers 1 to k encode question and passage separately, the others jointly. The decomposed model learns
from the labels, from the answers of the model it was made of, and from the states of that model's upper layers.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import numpy as np
from pydantic import Field
from transformers import PreTrainedTokenizerBase

from ...encoder.model.heads import TrimformerWithHead
from ...encoder.shape.config import TrimformerConfig
from ...encoder.shape.gates import Gates
from ...errors import TrimformerError
from ...measure.cost import cost
from ...tasks.encoding.encoded import Encoded
from ...tasks.encoding.passages import require_segments
from ...training.settings import ObjectiveSettings
from ..base import Context, MethodSettings, Standard, StudentMethod, register
from ..result import Result


class DeformerSettings(MethodSettings):
    """Settings of DeFormer."""

    name: Literal["deformer"] = "deformer"
    split_layers: int | None = Field(
        None,
        ge=1,
        description="so many first layers see each text of a pair by itself; none: three quarters of all, as published",
    )
    passage_start: int | None = Field(
        None,
        ge=0,
        description="position of the first token of a second text, whatever the first one is; none: how many tokens "
        "first texts of the training rows have, special tokens included (the median)",
    )

    @property
    def label(self) -> str:
        return self.name if self.split_layers is None else f"{self.name}, first {self.split_layers} layers apart"

    def of(self, config: TrimformerConfig) -> int:
        """How many layers of this encoder are split."""
        return max(1, config.num_hidden_layers * 3 // 4) if self.split_layers is None else self.split_layers

    def start(self, config: TrimformerConfig, rows: Encoded | None = None) -> int:
        """Where second texts are numbered from, as far as it is known without rows.

        An encoder that numbers each text by itself goes on as it does.
        """
        if self.passage_start is not None:
            return self.passage_start
        if config.positions == "by_segment" or rows is None or rows.types is None:
            return config.passage_start
        first = np.add.reduceat(rows.types == 0, rows.offsets[:-1], dtype=np.int64)
        return min(int(np.median(first)), config.max_position_embeddings - 1)


@register
class Deformer(StudentMethod):
    """Split the encoder, and train it to answer as before."""

    name = "deformer"
    Settings = DeformerSettings
    example = {"split_layers": 1}  # noqa: RUF012  (never written to)
    kinds = ("classification", "multilabel", "regression", "ranking", "spans")
    needs_pairs = True
    decides = False
    # The published weights; the published divergence is of the distributions as they are.
    standard = Standard(
        stage="split", objective=ObjectiveSettings(task=0.7, logits=1.1, temperature=1.0, hidden=0.5), repair=None
    )

    def __init__(self, settings: Any, context: Context) -> None:
        config = context.model.config
        self.check(settings, config)
        model = split(context.model, settings.of(config), settings.start(config, context.train))
        super().__init__(settings, dataclasses.replace(context, model=model))

    @classmethod
    def check(cls, settings: Any, config: TrimformerConfig) -> None:
        super().check(settings, config)
        split_config(config, settings.of(config), settings.start(config))

    @classmethod
    def after(cls, settings: Any, config: TrimformerConfig) -> TrimformerConfig:
        return split_config(super().after(settings, config), settings.of(config), settings.start(config))

    @classmethod
    def check_tokenizer(cls, tokenizer: PreTrainedTokenizerBase, config: TrimformerConfig) -> None:
        require_segments(tokenizer)

    def decide(self) -> Gates:
        """Nothing is switched off."""
        return Gates()

    def result(self) -> Result:
        return Result(self.model.cpu(), notes=self.notes())

    def notes(self) -> list[str]:
        config = self.model.config
        apart = config.split_layers
        behind = config.num_hidden_layers - apart
        notes = [
            f"{'the first layer sees' if apart == 1 else f'the first {apart} layers see'} each text of a pair by "
            f"itself, and {'the last one sees' if behind == 1 else f'the {behind} behind see'} both.",
            f"the second text of each pair is numbered from {config.passage_start} on.",
        ]
        types = self.context.train.types
        if types is not None:
            rows = len(self.context.train)
            first, second = (max(1, round(int((types == text).sum()) / rows)) for text in (0, 1))
            joint = type(config).from_dict(config.to_dict() | {"split_layers": 0})
            head, n = type(self.model), first + second
            costs = [
                cost(joint, n, head=head),
                *(cost(self.model, n, first=first, cached=kept) for kept in (False, True)),
            ]
            whole, split_up, cached = (f"{one.flops / 1e9:.3g}" for one in costs)
            notes.append(
                f"training rows have {first} and {second} tokens on average; for such a pair an encoder that sees both "
                f"texts everywhere computes {whole} GFLOPs, this one {split_up}, and {cached} where what it makes of "
                "the second text is kept."
            )
        return notes


def split_config(config: TrimformerConfig, layers: int, start: int = 0) -> TrimformerConfig:
    """The encoder whose first layers see each text of a pair by itself, the second text numbered from ``start``.

    Raises TrimformerError where its positions or segments cannot do that, and where no layer would see both texts.
    """
    if config.positions not in ("absolute", "by_segment") or config.attention_positions != "none":
        kind = config.attention_positions if config.attention_positions != "none" else config.positions
        raise TrimformerError(
            f"deformer numbers each text of a pair by itself, which the {config.family} family with its {kind!r} "
            "positions cannot do: choose a model with learned absolute positions, such as BERT or MiniLM."
        )
    if config.type_vocab_size < 2:
        raise TrimformerError(
            f"deformer tells the texts of a pair apart by segments, of which this {config.family} model has "
            f"{config.type_vocab_size}: choose a model with two, such as BERT or MiniLM."
        )
    if layers >= config.num_hidden_layers:
        raise TrimformerError(
            f"split_layers={layers} leaves none of the {config.num_hidden_layers} layers to see both texts of a pair: "
            f"set it to 1 to {config.num_hidden_layers - 1}."
        )
    changes = {"positions": "by_segment", "split_layers": layers, "passage_start": start}
    return type(config).from_dict(config.to_dict() | changes)


def split(model: TrimformerWithHead, layers: int, start: int = 0) -> TrimformerWithHead:
    """The same weights in the encoder that :func:`split_config` gives."""
    made: Any = type(model)(split_config(model.config, layers, start))
    made.load_state_dict(model.state_dict())
    found: TrimformerWithHead = made.to(model.device, model.dtype).train(model.training)
    return found
