"""The fields of autopilot.json."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from ..deploy.mend import Mended
from ..report.schema import Comparison, Headline, Step, TaskInfo


class PointInfo(BaseModel):
    """A candidate that was taken. score, drop: on the selection split, the drop in the budget's unit. ms, speedup: of
    its fp32 file. epochs: that it was trained for, 0 where it was fitted in closed form alone. layers: of a model with
    exits, that a selection text goes through, a mean.
    """

    name: str
    removed: str
    epochs: float
    score: float
    drop: float
    ms: float
    speedup: float
    inside: bool
    frontier: bool
    folder: str
    layers: float | None = None


class LookInfo(BaseModel):
    """A combination that was looked at, before any training. ms: predicted, under the back-end that is best for the
    dense model. fitted: whether what is left was fitted to the dense model in closed form. score, drop: on the
    selection split after that, the drop in the budget's unit.
    """

    name: str
    removed: str
    ms: float
    fitted: bool
    score: float
    drop: float


class FileInfo(BaseModel):
    """A model under a back-end. score, drop: on the selection split, the drop in the budget's unit. speedup: over the
    reference.

    agreement: share of the answers there that are those of the model in fp32; None where that is not known. mended:
    what stays in fp32 of an int8 file that would not agree else; None: nothing. executed: how often texts went through
    1, 2, … layers while it was timed; None: it has no exits.
    """

    name: str
    backend: str
    ms: float
    speedup: float
    score: float
    drop: float
    inside: bool
    agreement: float | None = None
    mended: Mended | None = None
    executed: list[int] | None = None


class ConfirmationInfo(BaseModel):
    """A file on the confirmation rows, which chose nothing. drop, upper: in the budget's unit.

    upper: only with ``sure``, end of the one-sided interval; infinity where too few answers differ. rows: how many
    would bring it inside; None where it is, or no number would. groups: how many the rows were drawn by; None: one by
    one.
    """

    model_config = ConfigDict(ser_json_inf_nan="strings")

    name: str
    backend: str
    n_examples: int
    drop: float
    upper: float | None
    rows: int | None
    confirmed: bool
    groups: int | None = None


class SearchReport(BaseModel):
    """The result of a search, whatever it is for.

    confirmations: of those that were tried, the chosen one last. comparison: of what was chosen with the dense model in
    PyTorch, fp32, on the validation rows. balance: warnings of a class that nearly all of these rows have, or that is
    never answered. conclusion: the same in sentences.
    """

    format_version: Literal[1] = 1
    trimformer_version: str
    created: str
    model: str
    task: TaskInfo
    max_drop: float
    hardware: dict[str, str]
    confirmations: list[ConfirmationInfo] = []
    comparison: Comparison
    inside: bool
    balance: list[str] = []
    conclusion: list[str]
    steps: list[Step]
    notes: list[str]
    recipe: dict[str, Any]


class AutopilotReport(SearchReport):
    """The result of a search for the fastest file.

    workload: what was timed. reference: the back-end of the dense model that speed-ups are over. chosen: what is in
    ``model`` and, as ``file``, beside it. confirmations, comparison: of files; inside: whether the chosen one loses
    little enough on the validation rows.
    """

    min_speedup: float | None
    workload: str
    threads: int
    reference: str
    reference_ms: float
    looked: list[LookInfo] = []
    points: list[PointInfo]
    files: list[FileInfo]
    chosen: FileInfo
    file: str
    headline: Headline | None = None


class SizeInfo(BaseModel):
    """A model and its folder. bytes: of weights, configuration and tokenizer on the disk. score, drop: on the selection
    split, the drop in the budget's unit; inside: whether it keeps the budget there. epochs: that it was trained for;
    fitted: whether what is left was fitted to the dense model in closed form before. frontier:
    whether no other that was scored is smaller and better.
    """

    name: str
    removed: str
    epochs: float
    fitted: bool
    bytes: int
    score: float
    drop: float
    inside: bool
    frontier: bool
    folder: str


class SizeReport(SearchReport):
    """The result of a search for the smallest model.

    max_size: bytes that were asked for. dense: the dense model. points: all that were scored, the smallest first.
    chosen: what is in ``model``. inside: whether it loses little enough on the validation rows and is small enough.
    """

    max_size: int
    dense: SizeInfo
    points: list[SizeInfo]
    chosen: SizeInfo
