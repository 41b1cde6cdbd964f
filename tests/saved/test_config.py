"""config.json says the same whether transformers reads it or not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest

from tests.wordmodels import randomized, tiny_body, tiny_config
from trimformer.encoder.checkpoints.load import read_config, read_kind, with_labels
from trimformer.encoder.model.heads import head_class
from trimformer.errors import TrimformerError
from trimformer.inference.reading import kind_of
from trimformer.saved.config import FORMAT_VERSION, SavedConfig, read_own
from trimformer.saved.kinds import Kind

NAMED = {"classification": ["no", "yes"], "multilabel": ["a", "b", "c"], "tokens": ["O", "B-X"]}
VARIANTS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "sizes": {"vocab_size": 123, "max_position_embeddings": 33, "type_vocab_size": 0},
    "from padding": {"positions": "from_padding", "pad_token_id": 1},
    "no padding": {"pad_token_id": None},
    "one output": {"num_labels": 1},
    "many outputs": {"num_labels": 12},
    "names": {"id2label": {0: "b", 1: "a"}, "problem_type": "multi_label_classification"},
    "layers": {"kinds": ("full", "none")},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_fact_is_the_same(variant: str, tmp_path: Path) -> None:
    theirs = tiny_config(**VARIANTS[variant])
    theirs.save_pretrained(tmp_path)
    ours = read_own(tmp_path)
    assert ours is not None
    again = read_config(tmp_path)
    for name in ("vocab_size", "type_vocab_size", "pad_token_id", "problem_type", "label_names", "max_tokens"):
        assert getattr(ours, name) == getattr(again, name), name
    assert ours.attention_kinds == again.attention_kinds == [shape.attention for shape in theirs.shapes]


def test_the_defaults_are_the_same(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "trimformer", "layers": []}', encoding="utf-8")
    ours, theirs = read_own(tmp_path), read_config(tmp_path)
    assert ours is not None
    for name in ("vocab_size", "type_vocab_size", "pad_token_id", "positions", "max_tokens", "label_names"):
        assert getattr(ours, name) == getattr(theirs, name), name


@pytest.mark.parametrize("kind", get_args(Kind))
def test_every_kind_is_told(kind: Kind, tmp_path: Path) -> None:
    model = randomized(head_class(kind), with_labels(tiny_config(), NAMED.get(kind, ()), kind))
    model.save_pretrained(tmp_path)
    assert kind_of(tmp_path) == read_kind(tmp_path) == kind


def test_a_bare_encoder_has_a_kind_as_ever(tmp_path: Path) -> None:
    tiny_body().save_pretrained(tmp_path)
    assert kind_of(tmp_path) == read_kind(tmp_path) == "classification"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": FORMAT_VERSION + 1}, "upgrade trimformer"),
        ({"vocab_size": -3}, "vocab_size in"),
        ({"id2label": {"0": "a", "2": "b"}}, "number them from 0 without gaps"),
        ({"problem_type": 3}, "problem_type in"),
        ({"positions": "odd"}, "positions in"),
    ],
)
def test_what_no_model_can_have_is_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    tiny_config().save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | changes), encoding="utf-8")
    with pytest.raises(TrimformerError, match=message):
        read_own(tmp_path)
    with pytest.raises(TrimformerError, match=message):
        read_config(tmp_path)


def test_another_library_s_file_is_left_to_it(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    assert read_own(tmp_path) is None
    assert SavedConfig().label_names == []
