"""The `task:` part of a recipe."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from .limits import SHORTEST, Truncation


class TaskSettings(BaseModel, extra="forbid"):
    """Which data, which columns, how much of it.

    Names and files are checked when the task is loaded, because only then is there a folder to look into.
    """

    name: str = Field(
        default="custom",
        description="a GLUE task (cola sst2 mrpc stsb qqp mnli mnli-mm qnli rte wnli), imdb, conll2003, ud, treebank, "
        "squad, 'sentiment' (built in), 'text' (masked tokens of plain text) or 'custom'",
    )
    data: str | None = Field(
        default=None,
        description="a named task: a folder with its original files, or a hub dataset id (default: the usual one); "
        "custom: a folder with train.* and validation.*, or one file",
    )
    train: str | None = Field(default=None, description="custom: the training file, instead of data")
    validation: str | None = Field(default=None, description="custom, text: the validation file")
    texts: list[str] | None = Field(
        default=None,
        min_length=1,
        description="files of texts without labels; text: the plain text to learn from; beside a training file: a "
        "stage that distils learns from them, too; custom, in place of one: the dense model's own answers are their "
        "labels",
    )
    packed: bool = Field(
        default=False, description="text: rows are filled with one text after another; else each text begins a row"
    )
    pairs: bool = Field(
        default=False,
        description="text: a row has two texts, half of the time two that follow one another in a file; "
        "whether is not asked",
    )
    unit: Literal["line", "paragraph"] = Field(
        default="line", description="text: what a text is in files without columns; paragraph: lines up to a blank one"
    )
    masked: float = Field(
        default=0.15, ge=0, lt=1, description="text: share of the tokens of a training row that are to be found"
    )
    whole_words: bool = Field(default=False, description="text: all tokens of a word are masked together")
    text: str | None = Field(default=None, description="custom, text: the text column (default 'text')")
    text_pair: str | None = Field(default=None, description="custom: the second text column, for pairs")
    label: str | None = Field(default=None, description="custom: the label column (default 'label')")
    group: str | None = Field(
        default=None,
        description="custom: the column that says which rows belong together, such as an author, or the query of "
        "ranking (default: its text); they are held out and resampled together",
    )
    kind: Literal["auto", "classification", "multilabel", "regression", "ranking", "tokens", "spans", "embedding"] = (
        Field(
            default="auto",
            description="custom: what is predicted; auto: tokens if the rows hold tokens and tags, spans if they hold "
            "question and context, multilabel if labels are lists, else classification or regression by the model's "
            "head and the labels; ranking: a score per couple of a query and a text; embedding, also for stsb: a "
            "vector per text; these two have to be named where the model is no saved one",
        )
    )
    metric: str | None = Field(
        default=None,
        description="what decides and is reported first, such as f1_macro, f1:CLASS or mae; none: the usual one of "
        "the task",
    )
    tags: str | None = Field(
        default=None, description="conll2003: ner (default), pos or chunk; ud and .conllu files: upos (default) or xpos"
    )
    scheme: Literal["iob1", "iob2"] | None = Field(
        default=None, description="tokens: how spans are tagged; default: iob1 in files of conll2003, iob2 elsewhere"
    )
    max_length: int | None = Field(
        default=None,
        ge=SHORTEST,
        description="tokens per example; longer ones are cut; none: what a fine-tuned model was saved with, else 128",
    )
    truncation: Truncation | None = Field(
        default=None,
        description="texts and words: which part of a long one stays: its head, its tail, or a quarter of the length "
        "from the head and the rest from the tail (Sun et al., 2019); none: what the tokenizer was saved with",
    )
    stride: int | None = Field(
        default=None,
        ge=0,
        description="spans: tokens that neighbouring windows of a long context have in common, at most half of the "
        "room that the question leaves; none: what the model was saved with, else 64",
    )
    pseudo_labels: bool = Field(
        default=False,
        description="custom: the dense model's own answers are the labels, also where a file has labels, so that "
        "scores are agreement with it; files of texts alone get them anyway",
    )
    train_limit: int | None = Field(default=None, ge=1, description="largest number of training rows, for quick runs")
    selection: float = Field(
        default=0.15,
        gt=0,
        lt=0.5,
        description="share of train held out to choose structure and stopping (at most 4000 rows)",
    )

    def read_for(self, kind: str | None) -> TaskSettings:
        """The settings for a model of this kind: couples of texts are what embedding models and rerankers score."""
        couples = self.name == "custom" and self.text_pair is not None
        couples = couples or (self.name == "stsb" and kind == "embedding")
        wanted = kind in ("embedding", "ranking") and self.kind == "auto" and couples
        return self.model_copy(update={"kind": kind}) if wanted else self

    @property
    def validation_only(self) -> bool:
        """Whether only a validation file is named, so that there are no training rows."""
        return self.name == "custom" and self.data is None and self.train is None and self.texts is None
