"""Options that belong together, and the settings that they make: a command takes a group whole (``signature.grouped``).

What is wrong with the options alone is said before ``trimformer`` is loaded.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import typer

from .options import Data, Epochs, KeepLayers, Label, Ray, TaskName, Text, TextPair, flag, validated
from .terminal import fail

if TYPE_CHECKING:
    from trimformer.tasks.settings import TaskSettings
    from trimformer.training.settings import TrainingSettings


@dataclasses.dataclass(frozen=True)
class TaskOptions:
    """What a model is scored on. others: what else names data, for a message."""

    others: ClassVar[str] = ""
    task: TaskName = "custom"
    data: Data = None
    validation: Annotated[str | None, typer.Option(help="Your validation file.")] = None
    text: Text = None
    text_pair: TextPair = None
    label: Label = None
    group: Annotated[
        str | None,
        typer.Option(help="Your column of what belongs together, such as an author: held out and tested as a whole."),
    ] = None
    kind: Annotated[
        str, typer.Option(help="Kind of task of your own files (docs/tasks.md); auto sees it from the rows.")
    ] = "auto"
    metric: Annotated[
        str | None,
        typer.Option(help="What decides and is shown first: f1_macro, f1:CLASS, matthews, mae, ... (docs/tasks.md)."),
    ] = None
    tags: Annotated[str | None, typer.Option(help="conll2003: ner, pos or chunk; ud: upos or xpos.")] = None
    scheme: Annotated[str | None, typer.Option(help="How spans are tagged in the files: iob1 or iob2.")] = None
    max_length: Annotated[
        int | None,
        typer.Option(help="Tokens per example; longer texts are cut. Default: as a tuned model was saved, or 128."),
    ] = None
    truncation: Annotated[
        str | None,
        typer.Option(help="Which part of a long text stays: head, tail or both. Default: as saved, or head."),
    ] = None
    stride: Annotated[
        int | None,
        typer.Option(
            help="Question answering: tokens that neighbouring windows share. Default: as saved, or 64.", min=0
        ),
    ] = None

    @property
    def inputs(self) -> list[str]:
        """The data that is named."""
        named = ("data", "train", "validation", "texts")
        return [value for name, value in vars(self).items() if name in named and value]

    @property
    def named(self) -> bool:
        """Whether a known task or data is named."""
        return self.task != "custom" or bool(self.inputs)

    def refuse(self, but: tuple[str, ...] = ()) -> None:
        """End the program where an option of the data is given and no data; but: those that have a meaning there."""
        for field in dataclasses.fields(self):
            name = field.name
            if getattr(self, name) != field.default and name not in but:
                fail(f"{flag(name)} says how data are read, and none are named: name them with --data or --task.")

    def settings(self, **more: Any) -> TaskSettings:
        """The settings of the task, with some that a command has options of its own for."""
        if not self.named:
            fail(f"No data is given: name your file or folder with --data,{self.others} or a known task with --task.")
        from trimformer.tasks.settings import TaskSettings

        values = given(self) | {name: value for name, value in more.items() if value is not None}
        return validated(TaskSettings, {"name": values.pop("task"), **values})


@dataclasses.dataclass(frozen=True)
class TrainedTaskOptions(TaskOptions):
    """The same where training rows are read, too."""

    train: Annotated[str | None, typer.Option(help="Your training file (CSV, TSV, JSON, JSONL, Parquet).")] = None


@dataclasses.dataclass(frozen=True)
class CompressedTaskOptions(TrainedTaskOptions):
    """The same where labels may be missing."""

    others: ClassVar[str] = " texts without labels with --texts,"
    texts: Annotated[
        list[str] | None,
        typer.Option(
            help="A file of texts without labels (a text per line, or a table); may be repeated. Beside labelled data "
            "what distils learns from them, too; alone, a fine-tuned model's own answers are the labels."
        ),
    ] = None


@dataclasses.dataclass(frozen=True)
class TrainingOptions:
    """How weights are trained."""

    epochs: Epochs = None
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate in each stage.")] = None
    batch_size: Annotated[int | None, typer.Option(help="Examples per batch in training.")] = None

    def settings(self) -> TrainingSettings:
        from trimformer.training.settings import TrainingSettings

        return validated(TrainingSettings, given(self))


@dataclasses.dataclass(frozen=True)
class BudgetOptions:
    """What the search looks for, which takes the place of a method."""

    max_drop: Annotated[
        float | None,
        typer.Option(
            help="Instead of a method: find the fastest model whose measured loss is within this many points "
            "(docs/autopilot.md)."
        ),
    ] = None
    max_disagreement: Annotated[
        float | None,
        typer.Option(
            help="The same for data without labels: with the answers of the dense model itself as truth, within this "
            "many points of agreement with it (docs/tasks.md)."
        ),
    ] = None
    max_size: Annotated[
        str | None,
        typer.Option(
            help="With --max-drop: find the smallest model in place of the fastest, and say whether its folder is no "
            "larger than this, such as 10MB."
        ),
    ] = None
    min_speedup: Annotated[
        float | None,
        typer.Option(
            help="With --max-drop: give half of the places to models predicted to be at least this many times as fast "
            "as the stock one."
        ),
    ] = None
    sure: Annotated[
        bool | None,
        typer.Option(
            "--sure",
            help="With --max-drop: only take what keeps it on the confirmation rows with 95 % confidence.",
        ),
    ] = None
    confirmation: Annotated[
        float | None,
        typer.Option(help="With --max-drop: share of the rows held out from train that only confirm. Default 0.5."),
    ] = None
    batch: Annotated[
        int | None, typer.Option(help="With --max-drop: texts in the batch that is to be fast. Default 1.")
    ] = None
    length: Annotated[
        int | None, typer.Option(help="With --max-drop: tokens of each. Default: the lengths of the training data.")
    ] = None
    post_training: Annotated[
        bool | None,
        typer.Option(
            "--post-training",
            help="Train nothing: remove parts of a fine-tuned model and fit the others in closed form, in minutes. "
            "--max-drop is then 1 point by default.",
        ),
    ] = None
    time_budget: Annotated[
        str | None,
        typer.Option(
            help="With --max-drop: limit for the whole run, such as 2h or 45m. Default: no limit, with --post-training "
            "3 minutes."
        ),
    ] = None
    storage: Annotated[
        str | None,
        typer.Option(
            help="With --max-drop: let `trimformer worker` help from other machines, through a file beside the results "
            "(`sqlite`) or the URL of a database."
        ),
    ] = None
    ray: Ray = None

    @property
    def searches(self) -> bool:
        """Whether it is searched within a budget."""
        return any(value is not None for value in (self.max_drop, self.max_disagreement, self.post_training))

    def settings(self) -> dict[str, Any]:
        """The arguments ``budget``, ``batch`` and ``length`` of ``autopilot_recipe``, checked."""
        from trimformer.recipe.settings import AutopilotSettings, MeasureSettings

        budget = ({"max_drop": 1.0} if self.post_training else {}) | given(self)
        if self.max_disagreement is not None:
            if self.max_drop is not None:
                fail("--max-drop and --max-disagreement are both the budget: leave one out.")
            budget["max_drop"] = budget.pop("max_disagreement")
        measured: dict[str, Any] = {name: budget.pop(name) for name in ("batch", "length") if name in budget}
        validated(AutopilotSettings, budget)
        validated(MeasureSettings, {name: [value] for name, value in measured.items()})
        return {"budget": budget, **measured}


FINETUNE = "finetune"


@dataclasses.dataclass(frozen=True)
class MethodOptions:
    """A method and its own settings: any of them by ``--set``, some by options of their own."""

    method: Annotated[str | None, typer.Option(help="One of docs/methods/. Default: attendout.")] = None
    keep_layers: KeepLayers = None
    keep: Annotated[int | None, typer.Option(help="Whole layers that stay.")] = None
    target: Annotated[
        float | None, typer.Option(help="Share of the layers' cost that stays: operations, or what the method counts.")
    ] = None
    replace_by: Annotated[
        str | None, typer.Option(help="What a layer without attention becomes, such as none (docs/concepts.md).")
    ] = None
    control: Annotated[
        str | None,
        typer.Option(
            help="`dense`: train the dense model on for as long, too, and compare with it; else what stands in for the "
            "learned choice (docs/methods/controls.md)."
        ),
    ] = None
    set: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Any setting of the method, as in a recipe; may be repeated."),
    ] = None
    augment: Annotated[
        str | None,
        typer.Option(
            help="`word-replacement` or `masking`: where it distils, also learn from rows that are made of the "
            "training rows, many times as many in each epoch (docs/augmentation.md)."
        ),
    ] = None
    student: Annotated[
        str | None,
        typer.Option(
            help="In place of a method, or with `--method squeeze`: train this student on the labels and on the dense "
            "model's answers (docs/starts.md). `distil` has every second layer; `tinybert4`, `tinybert6`, `minilm6` "
            "have the dense model's weights cut to that shape; `mobilebert` is deep and thin; `bilstm` and `cnn` are "
            "no Transformers; or a folder or hub id of a smaller encoder."
        ),
    ] = None

    @property
    def dense_control(self) -> Literal["dense"] | None:
        """The control that is one of the run, and none of the method."""
        return "dense" if self.control == "dense" else None

    def settings(self) -> dict[str, Any]:
        """The method's name and settings, checked."""
        values = given(self)
        values.pop("augment", None)
        if self.dense_control:
            del values["control"]
        student = values.pop("student", None)
        values["name"] = values.pop("method", "attendout" if student is None else FINETUNE)
        assigned = _assigned(values.pop("set", []))
        for name in assigned.keys() & values.keys():
            fail(f"--set {name}: the {name} of the method is given twice, leave one out.")
        from trimformer.methods import METHODS

        method = values["name"]
        able = [name for name, each in METHODS.items() if each.trains_students]
        if student is not None and METHODS.find(method).name not in able:
            fail(f"--student is trained by {' or '.join(able)}, and not by {method}: leave --method out.")
        own = {field.name for field in dataclasses.fields(self)} - assigned.keys()
        validated(
            METHODS.find(method).Settings,
            values | assigned,
            f"the method {method}",
            lambda name: flag(name) if name in own else f"--set {name}",
        )
        return values | assigned


def _assigned(texts: list[str]) -> dict[str, Any]:
    """Values by name, from ``NAME=VALUE``; a value is written as in a recipe."""
    import yaml

    values: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or name in values:
            fail(f"--set {text}: write NAME=VALUE, each name once, such as --set keep_layers=6.")
        try:
            values[name] = yaml.safe_load(value)
        except yaml.YAMLError:
            fail(f"--set {text}: the value is not valid YAML.")
    return values


def given(options: Any) -> dict[str, Any]:
    """The options of a group that have a value, by name."""
    return {name: value for name, value in vars(options).items() if value is not None and value != []}


def refuse(options: Any, why: str) -> None:
    """End the program where an option of this group is given."""
    for name in given(options):
        fail(f"{flag(name)} {why}")
