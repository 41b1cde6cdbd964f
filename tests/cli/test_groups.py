"""Options in groups: commands take them whole, and each makes its settings."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from trimformer.errors import TrimformerError
from trimformer_cli.groups import BudgetOptions, MethodOptions, TaskOptions, TrainedTaskOptions, TrainingOptions
from trimformer_cli.signature import grouped


def test_a_command_gets_the_fields_of_its_groups_as_options() -> None:
    seen: dict[str, Any] = {}

    @grouped
    def command(model: str, *, training: TrainingOptions, seed: int = 0) -> None:
        """What it does."""
        seen.update(model=model, training=training, seed=seed)

    parameters = inspect.signature(command).parameters
    assert [(name, parameters[name].default) for name in parameters] == [
        ("model", inspect.Parameter.empty),
        ("epochs", None),
        ("learning_rate", None),
        ("batch_size", None),
        ("seed", 0),
    ]
    assert command.__doc__ == "What it does."
    command(model="m", epochs=2.0, learning_rate=None, batch_size=8, seed=1)
    assert seen == {"model": "m", "training": TrainingOptions(epochs=2.0, batch_size=8), "seed": 1}


def test_settings_of_a_task() -> None:
    settings = TrainedTaskOptions(train="t.csv", text="review", max_length=64).settings(train_limit=None)
    assert settings.model_dump(exclude_unset=True) == {
        "name": "custom", "train": "t.csv", "text": "review", "kind": "auto", "max_length": 64,
    }  # fmt: skip
    assert TaskOptions("sst2").settings(train_limit=9).train_limit == 9


def test_settings_of_a_budget() -> None:
    budget = BudgetOptions(max_drop=0.5, time_budget="2h", length=64)
    assert budget.settings() == {"budget": {"max_drop": 0.5, "time_budget": "2h"}, "length": 64}


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        (MethodOptions(keep_layers=1), {"name": "attendout", "keep_layers": 1}),
        (MethodOptions(set=["keep_layers=1"]), {"name": "attendout", "keep_layers": 1}),
        (MethodOptions("importance", set=["heads=0.5", "ffn=1"]), {"name": "importance", "heads": 0.5, "ffn": 1}),
        (
            MethodOptions("last-k", 1, set=["replace_by=none"]),
            {"name": "last-k", "keep_layers": 1, "replace_by": "none"},
        ),
        (MethodOptions("none", set=[]), {"name": "none"}),
        (MethodOptions("none", augment="masking"), {"name": "none"}),
        (MethodOptions(student="distil"), {"name": "finetune"}),
        (MethodOptions(method="squeeze", student="tinybert4"), {"name": "squeeze"}),
    ],
)
def test_settings_of_a_method(options: MethodOptions, settings: dict[str, Any]) -> None:
    assert options.settings() == settings


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (MethodOptions("importance", set=["heads=2"]), r"--set heads: input should be .* \(got 2\)\."),
        (MethodOptions("last-k", set=["keep_layer=1"]), "--set keep_layer has no meaning for the method last-k"),
        (MethodOptions("last-k", set=["replace_by=none"]), "--keep-layers is missing: the method last-k needs it"),
        (MethodOptions("depth", target=0.5), "--target has no meaning for the method depth: leave it out"),
    ],
)
def test_a_wrong_setting_names_its_option(options: MethodOptions, said: str) -> None:
    with pytest.raises(TrimformerError, match=said):
        options.settings()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (MethodOptions(set=["keep_layers"]), "--set keep_layers: write NAME=VALUE, each name once"),
        (
            MethodOptions(set=["keep_layers=1", "keep_layers=2"]),
            "--set keep_layers=2: write NAME=VALUE, each name once",
        ),
        (MethodOptions(set=["keep_layers=[1"]), "--set keep_layers=[1: the value is not valid YAML"),
        (MethodOptions(keep_layers=1, set=["keep_layers=2"]), "the keep_layers of the method is given twice"),
        (MethodOptions(set=["name=depth"]), "the name of the method is given twice"),
        (
            MethodOptions("depth", student="distil"),
            "--student is trained by adabert or finetune or squeeze, and not by depth",
        ),
    ],
)
def test_an_unreadable_setting(options: MethodOptions, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        options.settings()
    assert said in capsys.readouterr().err
