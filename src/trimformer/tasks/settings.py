"""The `task:` part of a recipe."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class TaskSettings(BaseModel, extra="forbid"):
    """Which data, which columns, how much of it.

    Names and files are checked when the task is loaded, because only then is there a folder to look into.
    """

    name: str = Field(
        default="custom",
        description="a GLUE task (cola sst2 mrpc stsb qqp mnli qnli rte wnli), 'sentiment' (built in) or 'custom'",
    )
    data: str | None = Field(
        default=None,
        description="GLUE: a folder or a hub dataset id (default nyu-mll/glue); "
        "custom: a folder with train.* and validation.*, or one file",
    )
    train: str | None = Field(default=None, description="custom: the training file, instead of data")
    validation: str | None = Field(default=None, description="custom: the validation file")
    text: str | None = Field(default=None, description="custom: the text column (default 'text')")
    text_pair: str | None = Field(default=None, description="custom: the second text column, for pairs")
    label: str | None = Field(default=None, description="custom: the label column (default 'label')")
    kind: Literal["auto", "classification", "regression"] = Field(
        default="auto", description="auto: regression if all labels are numbers and not few distinct integers"
    )
    max_length: int = Field(default=128, ge=8, description="tokens per example; longer ones are cut")
    train_limit: int | None = Field(default=None, ge=1, description="at most so many training rows, for quick runs")
    selection: float = Field(
        default=0.15,
        gt=0,
        lt=0.5,
        description="share of train held out to choose structure and stopping (at most 4000 rows)",
    )
