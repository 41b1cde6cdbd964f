"""Rows of two texts: what the tokenizer makes of both, half of the time of two that follow one another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from tests.models import tiny
from tests.tasks.plain_text.plain import masking_tokenizer, write_text
from trimformer import TrimformerError, TrimformerForMaskedLM
from trimformer.tasks.plain_text.load import TextRows, load_plain_text
from trimformer.tasks.plain_text.pairs import FOLLOWING, pairing_of, partners
from trimformer.tasks.settings import TaskSettings
from trimformer.training.paired import student_inputs


def segmenting_tokenizer() -> PreTrainedTokenizerFast:
    """One that makes segments."""
    tokenizer = masking_tokenizer()
    tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    return tokenizer


def load(folder: Path, monkeypatch: pytest.MonkeyPatch, lines: int = 80, **settings: Any) -> TextRows:
    monkeypatch.setenv("TRIMFORMER_CACHE", str(folder / "cache"))
    path = write_text(folder / "texts.txt", lines)
    task = TaskSettings(name="text", texts=[str(path)], pairs=True, masked=0.0, **settings)
    return load_plain_text(task, segmenting_tokenizer(), tiny().config, 16, 0)


@pytest.mark.parametrize("packed", [False, True])
def test_rows_are_what_the_tokenizer_makes_of_two_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool
) -> None:
    rows, tokenizer = load(tmp_path, monkeypatch, packed=packed).train, segmenting_tokenizer()
    batch = rows.batch(range(len(rows)))
    for index in range(len(rows)):
        real = batch["attention_mask"][index].bool()
        ids, types = batch["input_ids"][index][real], batch["token_type_ids"][index][real]
        # Without what stands around them; in packed rows there are separators between texts.
        texts = [tokenizer.decode(part[:-1]) for part in (ids[types == 0][1:], ids[types == 1])]
        expected = tokenizer(*texts)
        assert ids.tolist() == expected["input_ids"]
        assert types.tolist() == expected["token_type_ids"]
        assert len(ids) == rows.lengths[index] <= 16
        assert all(texts)


def test_half_of_the_texts_of_each_part_follow_and_none_is_of_another_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = load(tmp_path, monkeypatch, 400)
    limited = load(tmp_path, monkeypatch, 400, train_limit=41).train
    for part in (data.train, data.selection, data.validation, limited):
        followed = part.begins[:, 1] == part.ends[:, 0]
        assert followed.mean() == pytest.approx(FOLLOWING, abs=0.03)
        assert (part.begins[:, 0] != part.begins[:, 1]).all()
    assert len(limited) == 41
    seen = [
        {tuple(part.ids[a:b].tolist()) for a, b in zip(part.begins.ravel(), part.ends.ravel(), strict=True)}
        for part in (data.train, data.selection, data.validation)
    ]
    assert not seen[0] & seen[1] | seen[0] & seen[2] | seen[1] & seen[2]


def test_the_second_text_is_the_next_one_of_the_same_file_or_any_other() -> None:
    numbers, one_file = np.arange(4000), np.array([4000])
    second = partners(numbers, one_file)
    assert (second == numbers + 1).mean() == pytest.approx(FOLLOWING, abs=0.002)
    assert (second != numbers).all()
    assert np.array_equal(second, partners(numbers, one_file))
    assert set(partners(np.array([3, 9]), one_file)) == {3, 9}
    files = np.arange(2, 4002, 2)  # of two rows each
    assert (partners(numbers, files)[1::2] == numbers[1::2] + 1).mean() < 0.002
    assert (partners(numbers, files)[::2] == numbers[::2] + 1).mean() > 0.99
    with pytest.raises(TrimformerError, match="A row of two texts needs another text of the same part of the data"):
        partners(np.array([3]), one_file)


def test_the_segment_of_the_second_text_is_learned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model, rows = TrimformerForMaskedLM(tiny().config), load(tmp_path, monkeypatch).selection
    batch = rows.batch(range(8))
    model(**student_inputs(batch), labels=batch["labels"]).loss.backward()
    assert model.encoder.embeddings.segment.weight.grad[1].abs().max() > 0
    assert len(batch["labels"]) == rows.places[:8].sum()


def test_two_stored_rows_fit_into_a_row() -> None:
    for tokenizer, segments in ((masking_tokenizer(), None), (segmenting_tokenizer(), [0] * 8 + [1] * 7)):
        pairing = pairing_of(tokenizer)
        assert (pairing.alone, len(pairing.ids), pairing.room(16)) == ((1, 1), 5, 8)
        row, types = pairing.joined(np.arange(8), np.arange(8))
        assert len(row) == pairing.lengths(np.array(8), np.array(8)) == 15
        assert (None if types is None else types.tolist()) == segments
