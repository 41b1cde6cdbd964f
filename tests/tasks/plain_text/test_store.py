"""Texts are tokenised once, onto the disk, and a cut tokenisation goes on where it stopped."""

import numpy as np
import pytest

from tests.tasks.plain_text.plain import masking_tokenizer, write_text
from trimformer import TrimformerError
from trimformer.tasks.plain_text import store
from trimformer.tasks.plain_text.store import stored


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TRIMFORMER_CACHE", str(tmp_path / "cache"))


def rows_of(found):
    begins = np.concatenate([[0], found.ends[:-1]])
    return [found.ids[a:b].tolist() for a, b in zip(begins, found.ends, strict=True)]


def test_rows_are_what_the_tokenizer_makes_of_the_texts(tmp_path):
    path, tokenizer = write_text(tmp_path / "a.txt", 30), masking_tokenizer()
    found = stored([path], tokenizer, 16, packed=False)
    assert rows_of(found) == tokenizer(path.read_text().splitlines())["input_ids"]
    assert (found.texts, found.unknown) == (30, 0)
    assert found.tokens == len(found.ids) - 2 * 30
    assert len(set(found.hashes.tolist())) == len(set(map(tuple, rows_of(found))))


def test_a_long_text_gives_several_rows(tmp_path):
    path, tokenizer = tmp_path / "a.txt", masking_tokenizer()
    path.write_text("the film was " * 10)
    rows = rows_of(stored([path], tokenizer, 10, packed=False))
    assert [len(row) for row in rows] == [10, 10, 10, 8]
    assert tokenizer.decode([token for row in rows for token in row[1:-1]]) == ("the film was " * 10).strip()


def test_packed_rows_are_full(tmp_path):
    path, tokenizer = write_text(tmp_path / "a.txt", 30), masking_tokenizer()
    rows = rows_of(stored([path, path], tokenizer, 12, packed=True))
    assert {len(row) for row in rows[:-1]} == {12}
    assert all((row[0], row[-1]) == (2, 3) for row in rows)
    inside = [token for row in rows for token in row[1:-1]]
    texts = " [SEP] ".join(path.read_text().splitlines() * 2)
    assert tokenizer.decode(inside) == texts


class Cut(Exception):
    """Stands for a power cut."""


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("after", [1, 3, 5])
def test_a_cut_tokenisation_goes_on(tmp_path, monkeypatch, packed, after):
    monkeypatch.setattr(store, "ROWS", 7)
    monkeypatch.setattr(store, "SAVE_SECONDS", -1.0)
    files, tokenizer = [write_text(tmp_path / "a.txt", 20), write_text(tmp_path / "b.txt", 31)], masking_tokenizer()
    monkeypatch.setenv("TRIMFORMER_CACHE", str(tmp_path / "whole"))
    whole = stored(files, tokenizer, 12, packed=packed)
    monkeypatch.setenv("TRIMFORMER_CACHE", str(tmp_path / "cut"))
    add, seen = store._Writer._add, []

    def cutting(self, part):
        seen.append(part)
        if len(seen) > after:
            add(self, part)  # written, and not noted
            raise Cut
        add(self, part)

    monkeypatch.setattr(store._Writer, "_add", cutting)
    with pytest.raises(Cut):
        stored(files, tokenizer, 12, packed=packed)
    monkeypatch.setattr(store._Writer, "_add", lambda self, part: (seen.append(part), add(self, part)))
    again = stored(files, tokenizer, 12, packed=packed)
    assert seen[after] == seen[after + 1]  # where it was cut, not from the beginning
    assert len(whole.begun) == 2
    if not packed:
        monkeypatch.setenv("TRIMFORMER_CACHE", str(tmp_path / "one"))
        alone = stored(files[:1], tokenizer, 12, packed=False)
        assert whole.begun.tolist() == [len(alone.ends), len(whole.ends)]
    for name in ("ids", "ends", "hashes", "begun"):
        assert np.array_equal(getattr(again, name), getattr(whole, name))
    assert (again.texts, again.tokens, again.unknown) == (whole.texts, whole.tokens, whole.unknown)


def test_what_is_there_is_not_tokenised_again(tmp_path, monkeypatch):
    path, tokenizer = write_text(tmp_path / "a.txt"), masking_tokenizer()
    stored([path], tokenizer, 12, packed=False)
    monkeypatch.setattr(store._Writer, "_add", None)
    stored([path], tokenizer, 12, packed=False)
    path.write_text("the film")
    with pytest.raises(TypeError):
        stored([path], tokenizer, 12, packed=False)


def test_no_text_and_a_damaged_cache(tmp_path):
    path, tokenizer = tmp_path / "a.txt", masking_tokenizer()
    path.write_text("\n \n")
    with pytest.raises(TrimformerError, match="There is no text in"):
        stored([path], tokenizer, 12, packed=False)
    stored([write_text(path)], tokenizer, 12, packed=False)
    (folder,) = [file.parent for file in (tmp_path / "cache").glob("*/ids.bin") if file.stat().st_size]
    (folder / "ids.bin").write_bytes(b"")
    (folder / "ids.bin").write_bytes(b"1234")
    with pytest.raises(TrimformerError, match="is damaged: delete the folder"):
        stored([path], tokenizer, 12, packed=False)
