"""Packed weight files: what is packed, what is refused, and that a packing belongs to the file alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.models import padded_batch, tiny
from trimformer import TrimformerError, TrimformerForSequenceClassification, load, trim
from trimformer.encoder.packing.base import packed
from trimformer.encoder.packing.bits import bytes_of, from_bytes, to_bytes
from trimformer.encoder.packing.dictionary import Dictionary
from trimformer.encoder.packing.files import is_packed
from trimformer.encoder.packing.groups import Groups, rounded
from trimformer.encoder.packing.sparse import Sparse

WORDS = "encoder.embeddings.word.weight"


def rough(model: Any) -> Any:
    """The model with a word table of four bits."""
    with torch.no_grad():
        model.encoder.embeddings.word.weight.copy_(rounded(model.encoder.embeddings.word.weight, 4))
    return model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rough(tiny()).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def parts_of(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", "pt") as opened:
        return load_file(folder / "model.safetensors"), json.loads(opened.metadata()["packing"])


def write(folder: Path, tensors: dict[str, torch.Tensor], said: Any) -> None:
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt", "packing": json.dumps(said)})


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("count", [1, 7, 64, 1001])
def test_numbers_of_few_bits_come_back(bits: int, count: int) -> None:
    numbers = torch.arange(count) * 37 % 2**bits
    written = to_bytes(numbers, bits)
    assert len(written) == bytes_of(count, bits)
    assert torch.equal(from_bytes(written, count, bits).long(), numbers)


def test_the_formulas() -> None:
    assert Dictionary.bytes({"bits": 3, "entries": 8, "outliers": 5}, (10, 7)) == 27 + 32 + 40
    assert Sparse.bytes({"kept": 9}, (10, 7)) == 9 + 36
    assert Groups.bytes({"bits": 4}, (10, 70)) == 350 + 2 * 10 * 2


def test_plain_numbers_stay_plain(tmp_path: Path) -> None:
    tiny().save_pretrained(tmp_path)
    assert not is_packed(tmp_path / "model.safetensors")
    assert json.loads((tmp_path / "config.json").read_text())["format_version"] == 1


def test_the_smallest_packing_is_taken() -> None:
    torch.manual_seed(0)
    weight = torch.randn(64, 64)
    few = weight.where(weight.abs() > 1.5, 0.0)
    found = packed(few)
    assert found is not None
    assert found.kind == "sparse"  # numbers of their own cost twice as much beside a dictionary
    found = packed(few.sign())
    assert found is not None
    assert (found.kind, found.settings["bits"]) == ("groups", 2) or found.kind == "dictionary"
    assert packed(weight) is None
    assert packed(few.double()) is None
    assert packed(few.where(few == 0, float("nan"))) is None


def test_a_negative_zero_counts_as_zero_where_weights_are_masked() -> None:
    torch.manual_seed(0)
    weight = torch.randn(32, 32) * (torch.rand(32, 32) < 0.2)
    assert weight.signbit().logical_and(weight == 0).any()
    found = packed(weight)
    assert found is not None
    assert found.kind == "sparse"


def test_the_format_is_in_the_configuration_of_the_folder_alone(folder: Path) -> None:
    assert json.loads((folder / "config.json").read_text())["format_version"] == 3
    assert load(folder).config.format_version == 1


def test_what_is_trained_on_is_saved_as_plain_numbers_again(folder: Path, tmp_path: Path) -> None:
    model = load(folder)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) / 100)
    model.save_pretrained(tmp_path / "trained")
    assert not is_packed(tmp_path / "trained" / "model.safetensors")


def test_what_is_trimmed_stays_packed(folder: Path, tmp_path: Path) -> None:
    trimmed = trim(load(folder), attention={1: "mean"})
    trimmed.save_pretrained(tmp_path / "trimmed")
    assert is_packed(tmp_path / "trimmed" / "model.safetensors")
    batch = padded_batch(trimmed)
    assert torch.equal(load(tmp_path / "trimmed")(**batch).logits, trimmed(**batch).logits)


def test_other_settings_of_the_configuration_can_be_given(folder: Path) -> None:
    model = TrimformerForSequenceClassification.from_pretrained(folder, hidden_dropout_prob=0.3, dtype=torch.float32)
    assert model.config.hidden_dropout_prob == 0.3
    with pytest.raises(TrimformerError, match="do not fit the shape"):
        TrimformerForSequenceClassification.from_pretrained(folder, vocab_size=40)


Change = Callable[[dict[str, torch.Tensor], dict[str, Any]], Any]
CODES, SCALES = f"{WORDS}.codes", f"{WORDS}.scales"


def newer(tensors: dict[str, torch.Tensor], said: dict[str, Any]) -> None:
    said["version"] = 2
    said["tensors"] = said.pop("weights")


def unknown(tensors: dict[str, torch.Tensor], said: dict[str, Any]) -> None:
    said["weights"][WORDS]["kind"] = "ternary"


def without_scales(tensors: dict[str, torch.Tensor], said: dict[str, Any]) -> None:
    del tensors[SCALES]


def short_codes(tensors: dict[str, torch.Tensor], said: dict[str, Any]) -> None:
    tensors[CODES] = tensors[CODES][:-1].clone()


def other_type(tensors: dict[str, torch.Tensor], said: dict[str, Any]) -> None:
    tensors[SCALES] = tensors[SCALES].float()


def many_bits(tensors: dict[str, torch.Tensor], said: dict[str, Any]) -> None:
    said["weights"][WORDS]["bits"] = 40


def vast(tensors: dict[str, torch.Tensor], said: dict[str, Any]) -> None:
    said["weights"][WORDS]["shape"] = [10**9, 10**9]


def no_shape(tensors: dict[str, torch.Tensor], said: dict[str, Any]) -> None:
    del said["weights"][WORDS]["shape"]


def no_weights(tensors: dict[str, torch.Tensor], said: dict[str, Any]) -> None:
    del said["weights"]


def other_shape(tensors: dict[str, torch.Tensor], said: dict[str, Any]) -> None:
    said["weights"][WORDS]["shape"] = said["weights"][WORDS]["shape"][::-1]


def endless(tensors: dict[str, torch.Tensor], said: dict[str, Any]) -> None:
    said["weights"][WORDS]["shape"] = [float("inf"), 8]


def endless_version(tensors: dict[str, torch.Tensor], said: dict[str, Any]) -> None:
    said["version"] = float("inf")


REFUSED = [
    (endless, "is damaged: the packed weight"),
    (endless_version, "what it says of its packed weights cannot be read"),
    (newer, "packed in format 2, newer than the format 1"),
    (unknown, "packed as 'ternary', and this trimformer knows"),
    (without_scales, "is damaged: the packed weight"),
    (short_codes, "is damaged: the packed weight"),
    (other_type, "is damaged: the packed weight"),
    (many_bits, "is damaged: the packed weight"),
    (vast, "is damaged: the packed weight"),
    (no_shape, "is damaged: the packed weight"),
    (no_weights, "what it says of its packed weights cannot be read"),
    (other_shape, "is damaged: the packed weight|do not fit the shape"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED, ids=[change.__name__ for change, _ in REFUSED])
def test_foreign_and_newer_files_are_refused_in_a_sentence(folder: Path, change: Change, message: str) -> None:
    tensors, said = parts_of(folder)
    change(tensors, said)
    write(folder, tensors, said)
    for loader in (load, TrimformerForSequenceClassification.from_pretrained):
        with pytest.raises(TrimformerError, match=message) as found:
            loader(folder)
        assert "\n" not in str(found.value)


def test_a_truncated_file_is_refused_in_a_sentence(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    for loader in (load, TrimformerForSequenceClassification.from_pretrained):
        with pytest.raises(TrimformerError, match="is truncated or not a safetensors file"):
            loader(folder)


def test_an_outlier_outside_the_weight_and_a_foreign_mask_are_refused(tmp_path: Path) -> None:
    torch.manual_seed(0)
    for kind, part in (("dictionary", "positions"), ("sparse", "mask")):
        model = tiny()
        few = model.encoder.embeddings.word.weight.detach()
        few = few.sign() if kind == "dictionary" else few.where(few.abs() > 0.4, 0.0)
        if kind == "dictionary":
            few[few == 0] = 1.0
            few[3, 3] = 5.0
        with torch.no_grad():
            model.encoder.embeddings.word.weight.copy_(few)
        model.save_pretrained(tmp_path / kind)
        tensors, said = parts_of(tmp_path / kind)
        assert said["weights"][WORDS]["kind"] == kind
        tensors[f"{WORDS}.{part}"] = torch.full_like(tensors[f"{WORDS}.{part}"], 255)
        if kind == "dictionary":
            tensors[f"{WORDS}.{part}"] += few.numel()
        write(tmp_path / kind, tensors, said)
        with pytest.raises(TrimformerError, match="is damaged: the packed weight"):
            load(tmp_path / kind)
