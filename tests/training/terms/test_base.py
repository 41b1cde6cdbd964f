"""The registry of terms: what each declares, what others can add, and that nothing else knows them by name."""

import dataclasses
import importlib.util
import re
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel, Field

import trimformer
from tests.learning import batches, context, make_method
from trimformer import TrimformerError
from trimformer.training import settings
from trimformer.training.settings import ObjectiveSettings, settings_of
from trimformer.training.terms.base import TERMS, Term, in_order

SOURCE = Path(trimformer.__file__).parent


@pytest.mark.parametrize("name", TERMS)
def test_a_term_is_weighted_by_the_setting_of_its_name(name):
    assert TERMS[name].name == name
    assert TERMS[name].Settings.model_fields[name].annotation is float
    assert all(field.description for field in TERMS[name].Settings.model_fields.values())
    assert TERMS[name].is_on(ObjectiveSettings(**{name: 0.5}))
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        ObjectiveSettings(**{name: -0.5})


def test_the_settings_stand_in_the_order_of_the_sum():
    fields = [field for term in in_order() for field in term.Settings.model_fields]
    assert list(ObjectiveSettings.model_fields) == [*fields, "layer_map", "cache"]
    assert fields[:5] == ["task", "logits", "temperature", "logits_distance", "hidden"]
    assert ObjectiveSettings().terms == [TERMS["task"]]


def test_what_a_term_needs_follows_from_the_term():
    for name, term in TERMS.items():
        wanted = ObjectiveSettings(**{name: 1.0})
        assert (wanted.needs_teacher, wanted.reads_states) == (term.needs_teacher, term.reads_states)


def test_two_terms_cannot_have_one_setting():
    class Mine(Term):
        name = "mine"

        class Settings(BaseModel):
            mine: float = Field(0.0, ge=0)
            temperature: float = 1.0

    with pytest.raises(TrimformerError, match="The terms logits and mine share the setting 'temperature'"):
        settings_of([*in_order(), Mine])


def test_no_other_file_knows_a_term():
    """A setting of a term is read in its own file alone, and the file is imported by the registry alone."""
    fields = "|".join(field for term in TERMS.values() for field in term.Settings.model_fields)
    known = re.compile(rf"\bobjective\.({fields})\b|\bterms\.({'|'.join(TERMS)})\b")
    files = [file for file in SOURCE.rglob("*.py") if file.parent != SOURCE / "training" / "terms"]
    assert [file for file in files if known.search(file.read_text(encoding="utf-8"))] == []


INSTALLED = """
from pydantic import BaseModel, Field

from trimformer.training.reading import state
from trimformer.training.terms.base import TERMS, Term


class NormSettings(BaseModel):
    norm: float = Field(0.0, ge=0, description="distillation of the length of the first state")


@TERMS.add("norm")
class NormTerm(Term):
    name = "norm"
    Settings = NormSettings
    reads_states = True

    def readings(self):
        return {state(self.layers.teacher, 1)}

    def loss(self, kind, batch, out, target):
        ours, theirs = out.hidden_states[1].norm(dim=-1), target.hidden_states[1].norm(dim=-1)
        return (ours - theirs)[batch["attention_mask"].bool()].square().mean()
"""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package that announces a term, installed after the terms were loaded: they are looked for again."""
    (tmp_path / "norms.py").write_text(INSTALLED)
    info = tmp_path / "norms-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: norms\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[trimformer.terms]\nnorms = norms\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(TERMS, "_entries", dict(TERMS))
    monkeypatch.setattr(TERMS, "_loaded", False)
    yield
    del sys.modules["norms"]


@pytest.fixture
def settings_anew(monkeypatch, installed):
    """The module of the settings as a process imports it that finds the installed term."""
    place = importlib.util.spec_from_file_location("trimformer.training.settings_anew", settings.__file__)
    module = importlib.util.module_from_spec(place)
    monkeypatch.setitem(sys.modules, place.name, module)
    place.loader.exec_module(module)
    return module


def test_a_term_of_an_installed_package_is_found_and_trained(tmp_path, settings_anew):
    found = settings_anew.ObjectiveSettings
    assert list(found.model_fields)[-3:] == ["norm", "layer_map", "cache"]
    stage = context(objective={"logits": 1.0}, teacher={"seed": 3}, folder=tmp_path / "cache", learning_rate=1e-2)
    method = make_method("none", dataclasses.replace(stage, objective=found(task=0.0, norm=2.0, cache=True)))
    losses = []
    for step in range(2):
        losses.append(method.micro_step(batches(stage, 1)[0], 1.0)["loss"])
        method.update(step)
    assert 0 < losses[1] < losses[0]
    assert {file.name for file in tmp_path.rglob("*.npy")} == {"logits.npy", "hidden-1.npy"}
