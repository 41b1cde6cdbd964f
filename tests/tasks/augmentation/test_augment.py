"""Rows that are made once: dropped, counted, kept, found again."""

import json
from pathlib import Path

import pytest

from tests.tasks.augmentation.readers import reader, rows
from trimformer import TrimformerError
from trimformer.tasks.augmentation.augment import augment, key
from trimformer.tasks.augmentation.masking import Masking, MaskingSettings
from trimformer.tasks.augmentation.replacement import Replacement, ReplacementSettings

TRAIN = rows("the film was good", "a dull picture")


def replacement(**settings) -> Replacement:
    return Replacement(ReplacementSettings(**settings), reader())


def test_no_new_row_is_there_already_twice_or_held_out(tmp_path: Path):
    everything = augment(replacement(copies=500, candidates=2), TRAIN, cache=tmp_path)
    texts = everything.rows.texts
    assert len(set(texts)) == len(texts) == everything.info.new
    assert not {text.strip() for text in texts} & set(TRAIN.texts)
    held = [rows(f"  {texts[0]}"), rows(texts[-1])]
    fewer = augment(replacement(copies=500, candidates=2), TRAIN, held, cache=tmp_path)
    assert fewer.rows.texts == texts[1:-1]
    assert fewer.info.held_out >= 2


def test_the_card_says_what_was_done(tmp_path: Path):
    found = augment(replacement(copies=50), TRAIN, cache=tmp_path)
    info = found.info
    assert (info.name, info.rows, info.seed, len(info.examples)) == ("word-replacement", 2, 0, 3)
    assert info.new == len(found.rows) == len(set(found.rows.texts))
    assert found.rows.labels == [None] * info.new
    assert 0 < info.share < 1
    assert info.replaced["word-table"] == sum(info.replaced.values())
    for example in info.examples:
        assert example.before[0] in TRAIN.texts
        assert example.after[0] in found.rows.texts
    assert "neighbours in the teacher's own word table (10 words that are one token)" in info.sentence()


def test_rows_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pairs = rows("a film", "good", pairs=["dull", "the movie"])
    for examples in (TRAIN, pairs):
        first = augment(replacement(), examples, cache=tmp_path)
        with monkeypatch.context() as patch:
            patch.setattr(Replacement, "make", None)
            assert augment(replacement(), examples, cache=tmp_path) == first
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("damage", ["", "{}", "cut"])
def test_a_broken_file_is_made_anew(tmp_path: Path, damage: str):
    first = augment(replacement(), TRAIN, cache=tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_text(file.read_text()[:-9] if damage == "cut" else damage)
    assert augment(replacement(), TRAIN, cache=tmp_path).rows == first.rows
    assert json.loads(file.read_text().splitlines()[0])["new"] == first.info.new


def test_a_folder_that_cannot_be_written_is_done_without(tmp_path: Path):
    (tmp_path / "file").touch()
    assert len(augment(replacement(), TRAIN, cache=tmp_path / "file").rows)


def test_whatever_decides_changes_the_name_of_the_file(tmp_path: Path):
    glove = tmp_path / "v.txt"
    glove.write_text("film 1 0\nreel 1 0\n")
    known = [
        key(replacement(), TRAIN),
        *(
            key(replacement(**one), TRAIN)
            for one in ({"seed": 1}, {"copies": 3}, {"probability": 0.5}, {"candidates": 2})
        ),
        key(replacement(glove=str(glove)), TRAIN),
        key(replacement(), TRAIN, [rows("film")]),
        key(replacement(), rows("the film was good", "a dull movie")),
        key(Masking(MaskingSettings(), reader()), TRAIN),
    ]
    glove.write_text("film 1 0\nreel 0 1\n")
    known.append(key(replacement(glove=str(glove)), TRAIN))
    other = reader()
    known.append(key(Replacement(ReplacementSettings(), other._replace(words=other.words + 1)), TRAIN))
    assert len(set(known)) == len(known)
    assert key(replacement(), TRAIN) == known[0]
    copy = tmp_path / "elsewhere.txt"
    copy.write_bytes(glove.read_bytes())
    assert key(replacement(glove=str(copy)), TRAIN) == key(replacement(glove=str(glove)), TRAIN)


def test_texts_without_a_word_to_replace_are_refused(tmp_path: Path):
    with pytest.raises(TrimformerError, match="word-replacement makes no new row of the training rows"):
        augment(replacement(), rows("the was not", "12 !"), cache=tmp_path)
