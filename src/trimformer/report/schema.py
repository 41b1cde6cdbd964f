"""What report.json holds: every field with its meaning and unit. Documented in docs/report.md."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ..deploy.agreement import agrees
from ..methods.exits.findings import ExitFindings
from ..methods.positions.findings import PositionImportance
from ..methods.result import Subnetwork
from ..tasks.augmentation.info import AugmentationInfo

FORMAT_VERSION: Literal[2] = 2


class _Strict(BaseModel):
    """Unknown keys are errors, so that no misspelt field vanishes; NaN and infinities become strings."""

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="strings")


class TaskInfo(_Strict):
    """The data and the metric."""

    name: str = Field(description="name of the task")
    kind: str = Field(
        description="classification, multilabel, regression, ranking, tokens (a label per word) or spans (question "
        "answering)"
    )
    labels: list[str] = Field(description="label names in the order of the outputs; empty for regression and spans")
    source: str = Field(description="where the data came from")
    n_train: int = Field(description="examples that weights were trained on")
    n_unlabelled: int = Field(0, description="texts without labels beside them, which what distils learned from, too")
    n_selection: int = Field(description="examples held out from train, on which the structure was chosen")
    n_validation: int = Field(description="examples that the reported scores are computed on")
    metric: str = Field(description="name of the official metric")
    pseudo_labels: bool = Field(
        False, description="whether the labels are the dense model's own answers, so that scores are agreement with it"
    )
    labelled_validation: bool = Field(
        False,
        description="whether the validation rows have labels of their own, by which they are scored",
    )

    @property
    def score_name(self) -> str:
        """What the score is called, of the validation rows."""
        return self.called(self.metric)

    def called(self, metric: str) -> str:
        """What a metric measures here."""
        return metric if self.labelled_validation else self.called_in_selection(metric)

    def called_in_selection(self, metric: str) -> str:
        """What a metric measures on the rows that the structure is chosen on."""
        return f"agreement ({metric})" if self.pseudo_labels else metric


class Latency(_Strict):
    """Wall-clock time of one forward pass in one setting."""

    backend: str = Field(description="what ran the model, with its precision where it is not fp32")
    batch: int = Field(description="sequences per forward pass")
    length: int = Field(description="tokens per sequence")
    median: float = Field(
        gt=0, allow_inf_nan=False, description="median time of a forward pass of the whole batch, in milliseconds"
    )
    p95: float = Field(gt=0, allow_inf_nan=False, description="95th percentile of the same times, in milliseconds")
    mean: float | None = Field(
        default=None,
        description="mean time over the validation texts, in milliseconds, where texts may leave a model early; null: "
        "tokens of one length were timed",
    )
    runs: int = Field(description="timed forward passes, warm-up excluded")
    threads: int = Field(description="CPU threads that the backend was allowed")
    score: float | None = Field(
        default=None, description="official metric of what was timed on the validation examples; null: not scored"
    )
    label_agreement: float | None = Field(
        default=None,
        description="share (0 to 1) of validation rows answered as PyTorch in fp32 does, of exits at the threshold of "
        "fp32; null: not scored",
    )

    @property
    def ms(self) -> float:
        """What is compared: the median, or where the texts decide the mean over them."""
        return self.median if self.mean is None else self.mean

    @property
    def setting(self) -> tuple[str, int, int, int]:
        """What must be equal for two times to be compared."""
        return self.backend, self.batch, self.length, self.threads


class LayerInfo(_Strict):
    """One encoder layer."""

    index: int = Field(description="position in the encoder, the first is 0")
    attention: str = Field(description="the kind of what mixes the tokens, such as full, mean or none")
    about: str = Field(description="that kind in words, as what became of self-attention")
    attends: bool = Field(description="whether the kind has queries and keys")
    heads: int = Field(description="attention heads; 0 where the layer has none")
    ffn: int = Field(description="units of the feed-forward block; 0 where it is removed")
    params: int = Field(description="number of weights")
    flops: float = Field(description="floating-point operations for one sequence of flops_length tokens")


class ModelInfo(_Strict):
    """The model before (dense) or after (trimmed)."""

    name: Literal["dense", "trimmed"] = Field(description="dense or trimmed")
    score: float | None = Field(description="official metric on the validation examples; null: none")
    metric: str = Field(description="name of that metric")
    scores: dict[str, float] = Field(default_factory=dict, description="value of each metric by its name")
    n_examples: int = Field(description="examples that the scores are computed on")
    params: int = Field(description="number of weights")
    bytes: int = Field(description="size of the weights as they are saved, in bytes")
    flops_per_example: float = Field(
        description="floating-point operations for one sequence; with exits, a mean over the validation texts"
    )
    flops_length: int = Field(description="tokens of the sequence that the operations are counted for")
    latency_ms: list[Latency] = Field(default_factory=list, description="one per backend, batch and length")
    layers: list[LayerInfo] = Field(default_factory=list, description="the encoder layers in order")
    executed: list[int] | None = Field(
        default=None, description="validation texts that went through 1, 2, … layers; null: it has no exits"
    )

    @property
    def mean_executed(self) -> float | None:
        """The layers that a validation text went through, a mean; None: all, because it has no exits."""
        if self.executed is None:
            return None
        return sum(number * count for number, count in enumerate(self.executed, 1)) / sum(self.executed)


class Comparison(_Strict):
    """Paired test between the two variants on the same examples."""

    metric: str = Field(description="name of the metric that is compared")
    difference: float = Field(description="trimmed minus dense, in units of the metric (0.01 = one point)")
    low: float = Field(description="lower end of the 95 % interval of the difference, same unit")
    high: float = Field(description="upper end of the 95 % interval of the difference, same unit")
    p_value: float = Field(description="two-sided, of no difference between the variants; between 0 and 1")
    n_examples: int = Field(description="examples that both variants were scored on")
    resamples: int = Field(description="bootstrap samples drawn; an exact interval needs none")
    interval: Literal["bootstrap", "exact"] = Field(
        default="bootstrap",
        description="how low and high were found: by the paired bootstrap, or exactly, of few examples that differ",
    )
    differing: int | None = Field(
        default=None, description="examples on which the variants differ, or groups of them; null: not counted"
    )
    groups: int | None = Field(
        default=None, description="groups of examples that were drawn together; null: each stands alone"
    )
    proves: bool = Field(
        default=True, description="whether so much differs that the interval says anything of other texts"
    )


class TrainingInfo(_Strict):
    """For how long the trimmed model was trained beside the dense one."""

    epochs: float = Field(
        description="passes over the training examples, or over as many augmented ones, in the stages that led to the "
        "trimmed model"
    )
    distilled: float = Field(description="of these, the passes in which it learned from the dense model")
    on_top: bool = Field(description="whether they came on top of the dense model's own training")
    dense_epochs: float = Field(description="passes of the dense model in this run; 0 where it was trained before")


class ControlInfo(_Strict):
    """The dense model, trained on for as long as the trimmed one, with the same data, objective and learning rate."""

    score: float = Field(description="official metric on the validation examples")
    scores: dict[str, float] = Field(description="value of each metric by its name")
    comparison: Comparison = Field(description="test of the difference: trimmed minus this model")


class Step(_Strict):
    """One step of the run."""

    name: str = Field(description="name of the step")
    seconds: float = Field(description="wall-clock time, in seconds")
    note: str = Field(default="", description="a remark; empty: none")


class CurvePoint(_Strict):
    """The value of a curve at one time of the training."""

    step: int = Field(description="optimiser steps done")
    value: float | list[float] = Field(description="a number, or one for each layer; its unit depends on the curve")


class Curve(_Strict):
    """How a value went in the training of one stage."""

    stage: str = Field(description="name of the stage")
    name: str = Field(
        description="what is drawn, such as keep_probability (0 to 1, of the attention of each layer) or reward"
    )
    points: list[CurvePoint] = Field(description="by rising step")


class ExportInfo(_Strict):
    """A file written for another runtime, compared with the trimmed model."""

    file: str = Field(description="path relative to the report")
    bytes: int = Field(description="size of the file, in bytes")
    precision: str = Field(description="number format of the weights, such as fp32 or int8")
    max_abs_error: float = Field(description="largest absolute difference of a logit from the trimmed model")
    label_agreement: float | None = Field(
        default=None,
        description="share (0 to 1) of validation rows answered as the fp32 file does, of exits at its threshold; "
        "null: not scored",
    )
    score: float | None = Field(default=None, description="official metric of the file itself on the validation rows")
    kept: list[str] = Field(default=[], description="linear maps that stay in fp32 in an int8 file, by name")
    agreement_before: float | None = Field(
        default=None, description="label_agreement with all maps in int8; null: they are, or it is not that precision"
    )
    threshold: float | None = Field(
        default=None, description="of exits, chosen by the file's own answers on the selection rows; null: the model's"
    )


class Headline(_Strict):
    """From the dense model as people run it today to what one would deploy, on one batch, and what each step gave."""

    start: str = Field(description="backend of the dense model at the start")
    start_ms: float = Field(
        gt=0,
        allow_inf_nan=False,
        description="its time of the batch (the mean where Latency has one, else the median), in milliseconds",
    )
    start_score: float | None = Field(description="official metric of the dense model; null: not scored")
    backend: str = Field(description="backend of what one would deploy")
    file: str | None = Field(default=None, description="its path relative to the report; null: the model in PyTorch")
    ms: float = Field(gt=0, allow_inf_nan=False, description="the same of it, in milliseconds")
    score: float | None = Field(description="official metric of its own answers to the same rows; null: not scored")
    metric: str = Field(description="name of that metric")
    n_examples: int = Field(description="examples that both scores are computed on")
    batch: int = Field(description="sequences in the batch")
    length: int = Field(description="tokens per sequence")
    threads: int = Field(description="CPU threads that both were allowed")
    runtime_factor: float | None = Field(
        default=None,
        description="how many times as fast the runtime made the dense model in fp32; null: not measured, or the same",
    )
    precision: str = Field(description="number format of the weights of what one would deploy, such as int8")
    precision_factor: float | None = Field(
        default=None, description="what that format then gave; null: not measured, or it is fp32"
    )
    removal_factor: float | None = Field(
        default=None,
        description="what the removed parts gave, in the same file of both models; null: not measured, or none",
    )
    early: bool = Field(default=False, description="whether texts may leave what one would deploy early")


class Report(_Strict):
    """Everything that a run found out."""

    format_version: Literal[2] = Field(default=FORMAT_VERSION, description="version of this format")
    trimformer_version: str = Field(description="version of trimformer that wrote the report")
    created: str = Field(description="date and time of writing, ISO 8601 with time zone")
    model: str = Field(description="the model that was compressed: folder or hub id")
    task: TaskInfo = Field(description="the data and the metric")
    method: str = Field(description="what was done, for people, such as: attendout layerwise, keep 3")
    student: str = Field(
        default="", description="what the trimmed model is, where it is no part of the dense one; else empty"
    )
    hardware: dict[str, str] = Field(default_factory=dict, description="machine and software, by name")
    variants: list[ModelInfo] = Field(description="the model before (dense) and after (trimmed)")
    headline: Headline | None = Field(
        default=None, description="what it comes to for the file that one would deploy; null: not measured"
    )
    comparison: Comparison | None = Field(default=None, description="test of the difference; null: none")
    training: TrainingInfo | None = Field(
        default=None, description="how much longer the trimmed model was trained; null: not known"
    )
    control: ControlInfo | None = Field(
        default=None, description="the dense model with as much training; null: no control was run"
    )
    steps: list[Step] = Field(default_factory=list, description="the steps of the run, in order")
    training_cost: dict[str, float] = Field(
        default_factory=dict, description="seconds per optimiser step, by part of the training"
    )
    curves: list[Curve] = Field(default_factory=list, description="of the trainings, in the order of the stages")
    augmentation: dict[str, AugmentationInfo] = Field(
        default_factory=dict, description="new training rows, by the stage that learned from them"
    )
    subnetworks: dict[str, list[Subnetwork]] = Field(
        default_factory=dict, description="smaller models that were trained inside the one of a stage, by the stage"
    )
    positions: dict[str, PositionImportance] = Field(
        default_factory=dict, description="how much each position of attention counts, by the stage that studied it"
    )
    exits: dict[str, ExitFindings] = Field(
        default_factory=dict, description="what exits cost and save at each threshold, by the stage that learned them"
    )
    export: list[ExportInfo] = Field(default_factory=list, description="files written for other runtimes")
    recipe: dict[str, Any] = Field(default_factory=dict, description="the settings as they were resolved")
    notes: list[str] = Field(default_factory=list, description="sentences on what was decided")

    def variant(self, name: str) -> ModelInfo | None:
        """The variant of that name, or None."""
        return next((variant for variant in self.variants if variant.name == name), None)

    def removed_layers(self) -> list[int]:
        """Layers of the trimmed model without full attention, which the dense one has; none of a student."""
        dense, trimmed = self.variant("dense"), self.variant("trimmed")
        if trimmed is None or self.student:
            return []
        removed = [layer.index for layer in trimmed.layers if not layer.attends]
        if dense is None or not dense.layers:
            return removed
        full = {layer.index for layer in dense.layers if layer.attends}
        return [index for index in removed if index in full]

    @property
    def average(self) -> str:
        """What the times are of many passes: mean over the texts, where these decide, else median."""
        times = [entry for variant in self.variants for entry in variant.latency_ms]
        return "mean" if any(entry.mean is not None for entry in times) else "median"

    def speedups(self) -> list[tuple[Latency, Latency]]:
        """(dense, trimmed) of every setting that both were timed in, in the order of the dense variant.

        Left out are settings in which either answers otherwise than fp32: they are no speed of the same answers.
        """
        dense, trimmed = self.variant("dense"), self.variant("trimmed")
        if dense is None or trimmed is None:
            return []
        times = {entry.setting: entry for entry in trimmed.latency_ms if agrees(entry.label_agreement)}
        return [
            (entry, times[entry.setting])
            for entry in dense.latency_ms
            if entry.setting in times and agrees(entry.label_agreement)
        ]
