"""Recipes: strict, and every mistake is named with its line."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from trimformer.api import compress, compress_within, evaluate
from trimformer.errors import TrimformerError
from trimformer.methods import METHODS
from trimformer.pipeline.results import method_label
from trimformer.recipe.reading import load_recipe, parse
from trimformer.recipe.settings import AutopilotSettings, Recipe, differences
from trimformer.recipe.standard import augmented_recipe, standard_recipe
from trimformer.tasks.settings import TaskSettings

MINIMAL = """\
model: m
task:
  name: sst2
out: o
dense:
  epochs: 1
stages:
  - name: search
    method:
      name: attendout
      keep_layers: 3
    training:
      learning_rate: 5e-5
measure:
  batch: [1]
"""


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(MINIMAL)
    return path


def standard(**method: Any) -> Recipe:
    return standard_recipe("m", TaskSettings(name="sst2"), "o", method={"name": "attendout"} | method)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_method_makes_a_recipe_that_survives_saving(tmp_path: Path, name: str) -> None:
    needed: dict[str, Any] = {"keep_layers": 2, "keep": 2, "target": 0.5, "density": 0.5, "stay": {"inputs": 0.5}}
    needed |= {"width": 8} if name == "factorise-embedding" else {}
    recipe = standard(name=name, **{key: needed[key] for key in METHODS[name].Settings.model_fields if key in needed})
    recipe.save(tmp_path / "r.yaml")
    loaded = load_recipe(tmp_path / "r.yaml")
    assert loaded == recipe
    assert differences(loaded, recipe) == {}
    assert [stage.method.name for stage in loaded.stages] == [
        name,
        *(["finetune"] if METHODS[name].standard.repair is not None else []),
    ]


def test_the_standard_stages_distil() -> None:
    def objectives(name: str, key: str) -> list[tuple[float, float]]:
        recipe = standard_recipe("m", TaskSettings(name="sst2"), "o", method={"name": name, key: 2})
        return [(stage.objective.logits, stage.objective.hidden) for stage in recipe.stages]

    assert objectives("last-k", "keep_layers") == [(0, 0), (1, 1)]
    assert objectives("greedy", "keep_layers") == [(1, 1), (1, 1)]
    assert objectives("attendout-faithful", "keep_layers") == [(0, 0), (0, 0)]
    assert objectives("depth", "keep") == objectives("layerdrop", "keep") == [(0, 0), (1, 1)]


def test_new_rows_come_into_the_stages_that_distil() -> None:
    task = TaskSettings(name="sst2")
    recipe = augmented_recipe(standard_recipe("m", task, "o", method={"name": "last-k", "keep_layers": 1}), "masking")
    assert [stage.augment and stage.augment.name for stage in recipe.stages] == [None, "masking"]
    with pytest.raises(TrimformerError, match="did you mean 'masking'"):
        augmented_recipe(recipe, "maskin")
    with pytest.raises(TrimformerError, match="no stage of this method learns from the teacher"):
        augmented_recipe(standard_recipe("m", task, "o", method={"name": "finetune"}), "masking")


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("distil", {"layers": "distil"}),
        ("bilstm", {}),
        ("cnn", {}),
        ("org/small", {"checkpoint": "org/small"}),
        ("tinybert4", {"shape": {"layers": 4, "hidden": 312, "heads": 12, "ffn": 1200}, "weights": "teacher"}),
    ],
)
def test_a_student_takes_the_place_of_a_method(name: str, start: dict[str, Any]) -> None:
    recipe = standard_recipe("m", TaskSettings(name="sst2"), "o", method={"name": "finetune"}, student=name)
    assert [stage.name for stage in recipe.stages] == ["finetune"]
    assert recipe.stages[0].start.model_dump(exclude_defaults=True) == start
    assert (recipe.stages[0].objective.task, recipe.stages[0].objective.logits) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tinybert5", "Unknown student 'tinybert5': did you mean 'tinybert"),
        ("xyz", "known are distil, .*hub"),
    ],
)
def test_an_unknown_student_is_named(name: str, said: str) -> None:
    with pytest.raises(TrimformerError, match=said):
        standard_recipe("m", TaskSettings(name="sst2"), "o", method={"name": "finetune"}, student=name)


def test_a_former_name_is_still_read(saved: Path) -> None:
    saved.write_text(MINIMAL.replace("name: attendout\n      keep_layers: 3", "name: none"))
    assert load_recipe(saved).stages[0].method.name == "finetune"
    assert standard_recipe("m", TaskSettings(name="sst2"), "o", method={"name": "none"}) == standard_recipe(
        "m", TaskSettings(name="sst2"), "o", method={"name": "finetune"}
    )
    assert "none" not in list(METHODS)
    assert METHODS["none"] is METHODS["finetune"]


@pytest.mark.parametrize(
    ("methods", "label"),
    [
        ([{"name": "last-k", "keep_layers": 2, "replace_by": "conv"}, {}], "last-k, keep 2, replace by conv"),
        ([{}, {"name": "attendout", "control": "reversed", "keep_layers": 0}], "attendout, reversed, keep 0"),
        ([{"name": "depth", "keep": 3}, {}, {"name": "hard-concrete", "target": 0.5}], "depth, keep 3 + hard-concrete"),
        ([{"name": "importance", "heads": 0.5}], "importance"),
        ([{}], "finetune"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_label_names_what_decides(methods: list[dict[str, Any]], label: str) -> None:
    stages = [{"name": f"s{i}", "method": {"name": "finetune"} | method} for i, method in enumerate(methods)]
    recipe = parse({"model": "m", "task": {"name": "sst2"}, "out": "o", "stages": stages}, "x")
    assert method_label(recipe) == label


def test_defaults_fill_what_a_recipe_leaves_out(saved: Path) -> None:
    recipe = load_recipe(saved)
    assert recipe.dense.epochs == 1
    assert recipe.stages[0].training.learning_rate == 5e-5  # YAML reads 5e-5, without a dot, as a string
    assert (recipe.export.int8, recipe.precision, recipe.task.max_length) == (True, "auto", None)


def test_differences_name_the_keys_and_their_first_values() -> None:
    recipe = standard()
    changed = recipe.model_copy(update={"seed": 1, "out": "p"})
    assert differences(recipe, changed) == {"out": "o", "seed": 0}
    assert differences(recipe, standard(keep_layers=2)) == {"stages.0.method.keep_layers": None}
    longer = recipe.model_copy(
        update={"stages": [*recipe.stages, recipe.stages[1].model_copy(update={"name": "last"})]}
    )
    assert differences(recipe, longer)["stages.2.name"] is None
    assert differences(longer, recipe)["stages.2.name"] == "last"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("out: o", "oot: o", "Unknown key 'oot' in {}, line 4: did you mean 'out'?"),
        ("name: sst2", "nome: sst2", "Unknown key 'task.nome' in {}, line 3: did you mean 'name'?"),
        ("epochs: 1", "epoch: 1", "Unknown key 'dense.epoch' in {}, line 6: did you mean 'epochs'?"),
        ("- name:", "- naem:", "Unknown key 'stages.0.naem' in {}, line 8: did you mean 'name'?"),
        ("keep_layers", "keep_layer", "Unknown key 'stages.0.method.keep_layer' in {}, line 11: did you mean"),
        ("learning_rate", "rate", "Unknown key 'stages.0.training.rate' in {}, line 13: did you mean"),
        ("batch:", "xyz:", "Unknown key 'measure.xyz' in {}, line 15: known here: batch, length, threads"),
        ("model: m\n", "", "The key 'model' is missing in {}."),
        ("  - name: search\n    method", "  - method", "The key 'stages.0.name' is missing in {}, line 8."),
        ("name: attendout", "# none", "The key 'stages.0.method.name' is missing in {}, line 9."),
        ("name: attendout", "name: atendout", "Unknown method 'atendout' in {}, line 9: did you mean 'attendout'?"),
        ("epochs: 1", "epochs: many", "dense.epochs in {}, line 6: input should be a valid number"),
        ("epochs: 1", "epochs: 0", "dense.epochs in {}, line 6: input should be greater than 0 (got 0)."),
        ("keep_layers: 3", "keep_layers: -1", "stages.0.method.keep_layers in {}, line 11: input should be greater"),
        ("[1]", "[]", "measure.batch in {}, line 15: list should have at least 1 item"),
        ("[1]", "[0]", "measure.batch.0 in {}, line 15: input should be greater than 0 (got 0)."),
        ("batch: [1]", "backends: [onx]", "measure.backends in {}, line 15: unknown backend 'onx', use some of eager"),
        ("name: search", "name: a/b", "stages.0.name in {}, line 8: string should match pattern"),
        (MINIMAL, "- a\n- b\n", "The recipe {} must be a YAML mapping with model, task, out and stages."),
        (MINIMAL, "", "The recipe {} must be a YAML mapping"),
        ("[1]", "[1", "The recipe {} is not valid YAML:"),
    ],
)
def test_mistakes_are_named(saved: Path, old: str, new: str, message: str) -> None:
    assert old in MINIMAL
    saved.write_text(MINIMAL.replace(old, new, 1))
    with pytest.raises(TrimformerError, match=re.escape(message.format(saved))) as caught:
        load_recipe(saved)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith((".", "?"))


def test_unreadable_files(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"model: caf\xe9")
    for name in ("no.yaml", "latin.yaml", "."):
        with pytest.raises(TrimformerError, match="cannot be read"):
            load_recipe(tmp_path / name)


def test_two_stages_need_two_names(saved: Path) -> None:
    """Results are kept by the name of the stage."""
    content = yaml.safe_load(MINIMAL)
    content["stages"] *= 2
    saved.write_text(yaml.safe_dump(content))
    with pytest.raises(TrimformerError, match=r"line 8: the stage name 'search' is taken twice or reserved\.$"):
        load_recipe(saved)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ({"name": "atendout"}, "Unknown method 'atendout': did you mean 'attendout'?"),
        ({}, "The key 'name' is missing in the method: known are"),
        ({"name": "last-k"}, "The key 'keep_layers' is missing in the method last-k."),
        ({"name": "last-k", "keep": 1}, "Unknown key 'keep' in the method last-k: did you mean 'keep_layers'?"),
        ({"name": "attendout", "keep": 1}, "Unknown key 'keep' in the method attendout: did you mean"),
        ({"name": "attendout", "keep_layers": -1}, "keep_layers in the method attendout: input should be greater"),
    ],
)
def test_mistakes_in_python_are_named_too(method: dict[str, Any], message: str) -> None:
    with pytest.raises(TrimformerError, match=re.escape(message)):
        compress("m", {"name": "sst2"}, method, "o")


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"nam": "sst2"}, "Unknown key 'nam' in the task: did you mean 'name'?"),
        ({"max_length": 2}, "max_length in the task: input should be greater than or equal to 8 (got 2)."),
    ],
)
def test_mistakes_in_the_task_are_named_too(task: dict[str, Any], message: str) -> None:
    with pytest.raises(TrimformerError, match=re.escape(message)):
        compress("m", task, {"name": "finetune"}, "o")
    with pytest.raises(TrimformerError, match=re.escape(message)):
        evaluate("m", task)


def test_stages_or_an_autopilot(tmp_path: Path) -> None:
    content = yaml.safe_load(MINIMAL)
    both = content | {"autopilot": {"max_drop": 0.5, "time_budget": "1h30m"}}
    with pytest.raises(TrimformerError, match="stages in x: an autopilot finds its own models, leave out one of the"):
        parse(both, "x")
    neither = {key: value for key, value in content.items() if key != "stages"}
    with pytest.raises(TrimformerError, match="The key 'stages' is missing in x"):
        parse(neither, "x")
    recipe = parse(neither | {"autopilot": both["autopilot"]}, "x")
    assert recipe.autopilot is not None
    assert (recipe.autopilot.time_budget, recipe.stages) == (5400, [])
    recipe.save(tmp_path / "recipe.yaml")
    assert load_recipe(tmp_path / "recipe.yaml") == recipe


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: &a [x, x, x, x, x, x, x, x, x, x]\n"
         + "".join(f"{b}: &{b} [{', '.join(['*' + a] * 10)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
         "has anchors that repeat too much"),
        ("a: &a [*a]\n", "has anchors that repeat too much"),
        ("[" * 5000, "is nested too deeply"),
        ("out: 2026-99-99\n", "is not valid YAML"),
    ],
)  # fmt: skip
def test_a_bomb_is_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(TrimformerError, match=said) as refused:
        load_recipe(tmp_path / "recipe.yaml")
    assert len(str(refused.value)) < 600


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", -5),
        ("seed", 2**32),
        ("dense.epochs", float("inf")),
        ("dense.learning_rate", float("nan")),
        ("measure.resamples", 10**11),
        ("measure.batch", ["x" * 10**6]),
    ],
)
def test_what_no_run_can_be_made_with_is_refused(key: str, value: Any) -> None:
    content = yaml.safe_load(MINIMAL)
    *path, last = key.split(".")
    place = content
    for part in path:
        place = place.setdefault(part, {})
    place[last] = value
    with pytest.raises(TrimformerError, match=re.escape(key)) as refused:
        parse(content, "r.yaml")
    assert len(str(refused.value)) < 300


def test_an_anchor_is_fine(tmp_path: Path) -> None:
    text = MINIMAL.replace("  epochs: 1", "  &dense\n  epochs: 1").replace("      learning_rate: 5e-5", "      *dense")
    (tmp_path / "recipe.yaml").write_text(text)
    assert load_recipe(tmp_path / "recipe.yaml").stages[0].training.epochs == 1


def test_every_setting_of_a_budget_is_an_argument_of_the_function_and_reaches_the_recipe(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert set(AutopilotSettings.model_fields) <= set(inspect.signature(compress_within).parameters)
    found: list[Recipe] = []
    monkeypatch.setattr("trimformer.api.search", lambda recipe, resume: found.append(recipe))
    given: dict[str, Any] = {"sure": True, "confirmation": 0.3, "min_speedup": 2.0, "time_budget": "2h"}
    compress_within("m", {"name": "sst2"}, 1.5, "o", **given)
    budget = found[0].autopilot
    assert budget is not None
    assert (budget.max_drop, budget.sure, budget.confirmation, budget.min_speedup) == (1.5, True, 0.3, 2.0)
    assert budget.time_budget == 7200
    defaults = AutopilotSettings(max_drop=1).model_dump()
    for name, parameter in inspect.signature(compress_within).parameters.items():
        if name in defaults and name not in ("max_drop", "training"):
            assert parameter.default == defaults[name], name
