"""A part, a gate point, a method and a term of another installed package are found, trained, trimmed and reported."""

import json
import subprocess
import sys

import pytest

from tests.tinymodel import write_csv, write_stock_bert

PARTS = '''
import torch
from torch import nn
from trimformer.encoder.parts.attention.base import (
    VALUE_AXES, VALUE_MAPS, Attention, give, make_values, value_flops,
)
from trimformer.encoder.parts.axes import axis_of, values_of
from trimformer.encoder.shape.kinds import ATTENTION
from trimformer.encoder.shape.points import GatePoint, add

add(GatePoint("taps", "the taps", "the tap gives nothing", lambda config, shape: (shape.own.get("taps", 0),)))


@ATTENTION.add("taps")
class Taps(Attention):
    """A token's own value, times the sum of some learned numbers."""

    kind = "taps"
    about = "replaced by the token's own value"
    mixes = False
    stands_in = True
    becomes = ("bias", "none")
    made_from = ("full",)
    starts = {"taps": 0.5}
    settings = ("taps",)
    maps = VALUE_MAPS
    axes = VALUE_AXES | {"taps": ("taps",)}

    def __init__(self, config, shape):
        super().__init__(config, shape)
        make_values(self, config, shape)
        self.taps = nn.Parameter(torch.full((shape.own["taps"],), 0.5))

    @classmethod
    def shaped(cls, shape, **fields):
        return super().shaped(shape, own={"taps": 2} | shape.own, **fields)

    def mix(self, x, tokens, gates=None):
        taps = self.taps if gates is None or gates.taps is None else self.taps * gates.taps.to(self.taps.dtype)
        return give(self, self.value(tokens.of(x)) * taps.sum(), gates)

    @classmethod
    def instead_of(cls, layer, x, tokens, gates):
        return give(layer, layer.value(tokens.of(x)), gates)

    @classmethod
    def cut(cls, config, shape, gates, where):
        taps = axis_of(values_of(gates, "taps", (shape.own["taps"],), where))
        smaller, axes = super().cut(config, shape, gates, where)
        if smaller.attention != cls.kind:
            return smaller, axes
        return _with(smaller, len(taps.rows)), axes | {"taps": taps}

    @classmethod
    def params(cls, config, shape, sizes):
        return super().params(config, shape, sizes) | {"taps": shape.own["taps"]}

    @classmethod
    def flops(cls, config, shape, sizes, n, rows):
        return value_flops(shape, sizes) * rows

    def exported(self, positions, first_only):
        return Exported(self, first_only)


def _with(shape, count):
    import dataclasses
    return dataclasses.replace(shape, own=shape.own | {"taps": count})


class Exported(nn.Module):
    def __init__(self, layer, first_only):
        super().__init__()
        self.layer, self.first_only = layer, first_only

    def forward(self, x, shared):
        x = x[:, :1] if self.first_only else x
        return self.layer.output(self.layer.value(x) * self.layer.taps.sum())
'''
METHODS = '''
from typing import Literal
import torch
from trimformer import Gates
from trimformer.methods.base import MethodSettings, StudentMethod, register


class Settings(MethodSettings):
    name: Literal["tap-all"] = "tap-all"


@register
class TapAll(StudentMethod):
    """Every layer loses its attention to taps."""

    name = "tap-all"
    Settings = Settings

    def decide(self):
        return Gates(attention=torch.zeros(self.layers), removed="taps")
'''
TERMS = """
from pydantic import BaseModel, Field
from trimformer.training.terms.base import TERMS, Term


class Settings(BaseModel):
    smallness: float = Field(0.0, ge=0, description="squares of the logits")


@TERMS.add("smallness")
class Smallness(Term):
    name = "smallness"
    Settings = Settings
    needs_teacher = False

    def loss(self, kind, batch, out, target):
        return out.logits.square().mean()
"""
SCRIPT = """
import sys, torch, trimformer
from trimformer import Gates, trim
from trimformer.recipe.reading import load_recipe
from trimformer.pipeline.run import run
from tests.models import padded_batch, random_gates, tiny

report = run(load_recipe("recipe.yaml"))
model = trim(tiny().double(), attention={1: "taps"})
gates = Gates(taps=[torch.ones(0), torch.tensor([1.0, 0.0]), torch.ones(0)])
batch = padded_batch(model)
with torch.no_grad():
    expected = model(**batch, gates=gates).logits
    got = trim(model, gates)
    torch.testing.assert_close(got(**batch).logits, expected, atol=1e-10, rtol=0)
assert got.config.shapes[1].own == {"taps": 1}
assert trimformer.cost(got, 9).params == sum(weight.numel() for weight in got.parameters())
"""
LOADS = """
import json, torch, trimformer
from transformers import AutoModelForSequenceClassification
model = AutoModelForSequenceClassification.from_pretrained("out/model").eval()
print(json.dumps([shape.attention for shape in model.config.shapes]))
"""


@pytest.fixture
def home(tmp_path):
    """A folder with a package that is installed beside trimformer, a model, data and a recipe that uses the package."""
    site = tmp_path / "site"
    info = site / "extra-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "extra").mkdir()
    (site / "extra" / "__init__.py").write_text("")
    for name, text in {"parts": PARTS, "methods": METHODS, "terms": TERMS}.items():
        (site / "extra" / f"{name}.py").write_text(text)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: extra\nVersion: 1.0\n")
    groups = {"parts": "parts", "gate_points": "parts", "methods": "methods", "terms": "terms"}
    (info / "entry_points.txt").write_text(
        "".join(f"[trimformer.{group}]\nextra = extra.{module}\n" for group, module in groups.items())
    )
    write_stock_bert(tmp_path / "bert")
    write_csv(tmp_path / "train.csv")
    training = {"epochs": 1, "batch_size": 16}
    stages = [
        {"name": "tap", "method": {"name": "tap-all"}, "objective": {"smallness": 0.1}, "training": training},
        {"name": "repair", "method": {"name": "finetune"}, "objective": {"logits": 1.0}, "training": training},
    ]
    recipe = {
        "model": "bert",
        "task": {"train": "train.csv", "text": "review", "label": "stars"},
        "out": "out",
        "precision": "fp32",
        "dense": training,
        "stages": stages,
        "measure": {"backends": ["torch"], "batch": [1], "length": [8], "resamples": 100},
        "export": {"int8": False},
    }
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    return tmp_path


def python(home, script):
    paths = [str(home / "site"), *sys.path]
    code = f"import sys; sys.path[:0] = {paths!r}\n{script}"
    done = subprocess.run([sys.executable, "-c", code], cwd=home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_what_another_package_brings_is_found_trained_trimmed_saved_loaded_and_reported(home):
    python(home, SCRIPT)
    kinds = json.loads(python(home, LOADS))
    assert set(kinds) == {"taps"}
    report = json.loads((home / "out" / "report.json").read_text())
    assert "tap-all" in report["method"]
    (trimmed,) = [model for model in report["variants"] if model["name"] == "trimmed"]
    assert {layer["attention"] for layer in trimmed["layers"]} == {"taps"}
    assert "replaced by the token's own value" in (home / "out" / "model" / "README.md").read_text()
    assert report["export"][0]["max_abs_error"] < 1e-4
