"""Settings of one fine-tuning run."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


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
    patience: int = Field(2, ge=1, description="stop after this many epochs without a better selection score")
    checkpoint_seconds: float = Field(120.0, ge=0, description="time between saved states; 0 saves every step")


Precision = Literal["auto", "bf16", "fp32"]
