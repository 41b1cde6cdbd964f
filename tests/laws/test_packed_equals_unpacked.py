"""Law: a packed weight is the weight to the bit, and takes as many bytes as the formula of its packing says."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors import safe_open

import trimformer
from tests import fresh
from tests.models import DISTINCT_FAMILIES, padded_batch, tiny
from trimformer.encoder.model.heads import HEADS
from trimformer.encoder.packing.base import PACKINGS, packed, unpacked

every_packing = pytest.mark.parametrize("kind", PACKINGS)


def held(kind: str, model: Any) -> Any:
    """The model with matrices that a packing can hold."""
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.copy_(PACKINGS[kind].example(weight))
    return model


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(**padded_batch(model)).logits
    return found


def sizes(file: Path) -> dict[str, int]:
    """The bytes of each tensor in a file."""
    with safe_open(file, "pt") as opened:
        return {name: opened.get_tensor(name).nbytes for name in opened.keys()}  # noqa: SIM118


@every_packing
def test_the_example_is_held_by_it_and_comes_back(kind):
    torch.manual_seed(0)
    weight = PACKINGS[kind].example(torch.randn(20, 100))
    found = packed(weight)
    assert found is not None
    assert found.kind == kind
    assert torch.equal(unpacked(found), weight)
    assert found.bytes == PACKINGS[kind].bytes(found.settings, found.shape) < weight.nbytes


@every_packing
@pytest.mark.parametrize("family", DISTINCT_FAMILIES)
def test_a_file_has_the_bytes_of_the_formula_and_gives_the_weights_back(kind, family, tmp_path):
    model = held(kind, tiny(family=family))
    model.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    with safe_open(file, "pt") as opened:
        weights = json.loads(opened.metadata()["packing"])["weights"]
    expected = 0
    for name, weight in model.state_dict().items():
        if name in model.all_tied_weights_keys:
            continue
        said = dict(weights.get(name, {}))
        plain = said.pop("kind", None) is None
        shape = tuple(said.pop("shape", ()))
        expected += weight.nbytes if plain else PACKINGS[weights[name]["kind"]].bytes(said, shape)
    assert sum(sizes(file).values()) == expected
    assert file.stat().st_size == 8 + int.from_bytes(file.read_bytes()[:8], "little") + expected
    assert kind in {said["kind"] for said in weights.values()}
    for loaded in (trimformer.load(tmp_path), type(model).from_pretrained(tmp_path)):
        assert torch.equal(logits(loaded), logits(model))
        assert all(torch.equal(loaded.state_dict()[name], weight) for name, weight in model.state_dict().items())
        assert loaded.config.to_diff_dict() == {**model.config.to_diff_dict(), "architectures": [type(model).__name__]}


def answer(home: Path) -> None:
    """The logits of each saved model, into a file beside it."""
    for folder in home.iterdir():
        auto: Any = getattr(transformers, folder.name, None) or getattr(trimformer, folder.name)
        torch.save(logits(auto.from_pretrained(folder / "model")), folder / "logits.pt")


@pytest.mark.parametrize("kind", ["dictionary"])
def test_every_head_loads_in_a_fresh_process_with_identical_logits(kind, tmp_path):
    expected = {}
    for head in HEADS:
        model = held(kind, head(tiny().config))
        loader = head.__name__.replace("TrimformerFor", "AutoModelFor")
        folder = tmp_path / (loader if hasattr(transformers, loader) else head.__name__)
        model.save_pretrained(folder / "model")
        expected[folder] = logits(model)
    fresh.finished(answer, tmp_path)
    for folder, found in expected.items():
        assert torch.equal(torch.load(folder / "logits.pt", weights_only=True), found), folder.name
