"""Settings of one fine-tuning run: how weights are trained, and on what loss."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt


class TrainingSettings(BaseModel):
    """How weights are trained: AdamW with warm-up and linear decay."""

    model_config = ConfigDict(extra="forbid")

    epochs: float = Field(3.0, gt=0, description="passes over the training split; parts of a pass are allowed")
    learning_rate: float = Field(5e-5, gt=0)
    batch_size: int = Field(32, ge=1, description="examples per process and micro-batch")
    accumulate: int = Field(1, ge=1, description="micro-batches per optimiser step")
    warmup: float = Field(0.1, ge=0, lt=1, description="share of the steps with rising learning rate")
    weight_decay: float = Field(0.01, ge=0, description="not applied to biases and LayerNorm")
    clip: float = Field(1.0, gt=0, description="largest gradient norm")
    keep_best: bool = Field(
        True, description="score the selection split after each epoch and keep the best weights; else the last"
    )
    patience: int = Field(2, ge=1, description="stop after this many epochs without a better selection score")
    checkpoint_seconds: float = Field(120.0, ge=0, description="time between saved states; 0 saves every step")


Relation = Literal["attention", "query", "key", "value"]


class ObjectiveSettings(BaseModel):
    """Weights of the terms; a weight of 0 switches a term off."""

    model_config = ConfigDict(extra="forbid")

    task: float = Field(1.0, ge=0, description="cross-entropy, or squared error for regression")
    logits: float = Field(0.0, ge=0, description="distillation of the teacher's logits")
    temperature: float = Field(2.0, gt=0, description="of both softmaxes in the logit term")
    hidden: float = Field(0.0, ge=0, description="distillation of the teacher's hidden states, layer by layer")
    embeddings: float = Field(0.0, ge=0, description="distillation of the output of the embeddings")
    attention: float = Field(0.0, ge=0, description="distillation of the attention scores, layer by layer")
    relations: float = Field(0.0, ge=0, description="distillation of the last layer's relations between tokens")
    relation_terms: list[Relation] = Field(
        ["query", "key", "value"],
        min_length=1,
        description="query, key, value: MiniLM v2; attention, value: MiniLM; their divergences are summed",
    )
    relation_heads: int | None = Field(
        None, ge=1, description="of queries, keys and values, split anew; none: as many as the teacher's layer has"
    )
    layer_map: list[NonNegativeInt] | None = Field(
        None, description="the teacher's layer, from 0, for each of the student's; none: evenly spread"
    )
    cache: bool = Field(False, description="run the teacher once over the data and keep on disk what the terms need")

    @property
    def needs_teacher(self) -> bool:
        return self.reads_states or self.reads_trace or self.logits > 0

    @property
    def reads_states(self) -> bool:
        """Whether a term compares hidden states."""
        return self.hidden > 0 or self.embeddings > 0

    @property
    def reads_trace(self) -> bool:
        """Whether a term compares queries, keys or values."""
        return self.attention > 0 or self.relations > 0


Precision = Literal["auto", "bf16", "fp32"]
