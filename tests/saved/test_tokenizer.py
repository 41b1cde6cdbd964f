"""Law: a saved folder's tokenizer gives the same ids whether transformers reads it or tokenizer.json alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertTokenizer, PreTrainedTokenizerFast

from tests.tasks.encoding.test_windows import roberta, xlm_roberta
from tests.wordmodels import tiny_config, tiny_tokenizer
from trimformer.encoder.checkpoints.load import load_tokenizer
from trimformer.errors import TrimformerError
from trimformer.inference.batches import tokenise as tokenise_rows
from trimformer.saved.config import read_own
from trimformer.saved.demo import demo_folder
from trimformer.saved.tokenizer import SavedTokenizer, read_tokenizer
from trimformer.saved.tokenizer_check import check_ids, reading_notes
from trimformer.tasks.cuts import Cuts, saved_cuts
from trimformer.tasks.kinds import KINDS

TEXTS = ["w0 w1 w2", "Ein naïver Zoë-Satz, (1234)  mit   Lücken\n", "", "漢字 🙂 w3", "the film was good " * 30]
WORDS = [["w0", "w1-2", "naïv"], [], ["the", "film", "was"] * 20]


def word_pieces() -> BertTokenizer:
    """As most checkpoints have it: a class of its own, which says nothing of what it makes."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "film", "was", "good", "w", "##0", "##1", "ein"]
    return BertTokenizer(vocab={piece: number for number, piece in enumerate(pieces)})


def byte_pairs() -> PreTrainedTokenizerFast:
    """Bytes with merges, a space before the first word, and the longest input and the side of cuts in its settings."""
    pieces = ["<s>", "<pad>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet()), "Ġw", "th"]
    inner = Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, [("Ġ", "w"), ("t", "h")]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    inner.normalizer = normalizers.NFC()
    inner.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", unk_token="</s>", model_max_length=30, truncation_side="left"
    )


FAMILIES = {
    "words": tiny_tokenizer,
    "word-pieces": word_pieces,
    "bytes": roberta,
    "byte-pairs": byte_pairs,
    "sentence-pieces": xlm_roberta,
}


@pytest.fixture(params=FAMILIES)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Saved by transformers, read by this package and saved again, as a run does."""
    return saved(FAMILIES[request.param](), tmp_path)


def saved(tokenizer: Any, folder: Path) -> Path:
    tiny_config(vocab_size=400).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    load_tokenizer(folder).save_pretrained(folder)
    return folder


def both(folder: Path) -> tuple[Any, SavedTokenizer]:
    config = read_own(folder)
    assert config is not None
    return load_tokenizer(folder), read_tokenizer(folder, config)


def same(one: Any, other: Any) -> None:
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], name)


def test_what_the_settings_say_is_the_same(folder: Path) -> None:
    theirs, ours = both(folder)
    for name in ("pad_token_id", "unk_token_id", "model_max_length", "truncation_side"):
        assert getattr(theirs, name) == getattr(ours, name), name
    assert ("token_type_ids" in theirs.model_input_names) == ("token_type_ids" in ours.model_input_names)
    assert saved_cuts(theirs, 80) == saved_cuts(ours, 80)
    assert theirs.get_vocab() == ours.get_vocab()


@pytest.mark.parametrize("truncation", ["head", "tail", "both"])
@pytest.mark.parametrize("pairs", [False, True])
def test_texts_and_couples(folder: Path, truncation: Any, pairs: bool) -> None:
    theirs, ours = both(folder)
    rows = list(zip(TEXTS, reversed(TEXTS), strict=True)) if pairs else TEXTS
    found = [tokenise_rows("classification", rows, one, Cuts(20, truncation, 4)) for one in (theirs, ours)]
    same(*({"ids": one.ids, "offsets": one.offsets, "types": np.asarray(one.types)} for one in found))
    examples = KINDS["classification"].examples(TEXTS)
    same(*(KINDS["classification"].tokenise(examples, one, 20, truncation=truncation) for one in (theirs, ours)))


def test_words(folder: Path) -> None:
    theirs, ours = both(folder)
    examples = KINDS["tokens"].examples(WORDS)
    same(*(KINDS["tokens"].tokenise(examples, one, 20, truncation="both") for one in (theirs, ours)))


def test_windows(folder: Path) -> None:
    theirs, ours = both(folder)
    examples = KINDS["spans"].examples(list(zip(TEXTS, reversed(TEXTS), strict=True)))
    same(*(KINDS["spans"].tokenise(examples, one, 24, stride=4) for one in (theirs, ours)))


def test_the_same_as_the_usual_call_of_transformers(folder: Path) -> None:
    theirs, ours = both(folder)
    usual = theirs(TEXTS, truncation=False, verbose=False)
    arrays = KINDS["classification"].tokenise(KINDS["classification"].examples(TEXTS), ours, 10_000, truncation="head")
    np.testing.assert_array_equal(np.concatenate([np.array(row) for row in usual["input_ids"]]), arrays["ids"])


def test_the_demo_encoder_as_its_package_has_it(tmp_path: Path) -> None:
    """A folder that names no inputs, with lengths and case from the files of sentence-transformers."""
    for file in demo_folder().glob("*.json"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    theirs = load_tokenizer(tmp_path)
    tiny_config(vocab_size=30522).save_pretrained(tmp_path)
    _, ours = both(tmp_path)
    assert saved_cuts(theirs, 512) == saved_cuts(ours, 512)
    rows = list(zip(TEXTS, reversed(TEXTS), strict=True))
    found = [tokenise_rows("classification", rows, one, Cuts(40, "head", 4)) for one in (theirs, ours)]
    same(*({"ids": one.ids, "types": np.asarray(one.types)} for one in found))
    assert found[1].types is not None


def test_segments_that_the_encoder_lacks_are_not_made(tmp_path: Path) -> None:
    saved(word_pieces(), tmp_path)
    tiny_config(vocab_size=400, type_vocab_size=1).save_pretrained(tmp_path)
    assert [one.model_input_names for one in both(tmp_path)] == [["input_ids", "attention_mask"]] * 2


def test_ids_outside_the_table_are_refused(tmp_path: Path) -> None:
    saved(word_pieces(), tmp_path)
    tiny_config(vocab_size=9).save_pretrained(tmp_path)
    config = read_own(tmp_path)
    assert config is not None
    with pytest.raises(TrimformerError, match="the id 12, and the encoder has embeddings for the ids below 9"):
        read_tokenizer(tmp_path, config)
    with pytest.raises(TrimformerError, match="gave the id 12"):
        check_ids(np.array([12]), None, config)


def test_a_broken_file_is_said_to_be_so(tmp_path: Path) -> None:
    saved(word_pieces(), tmp_path)
    config = read_own(tmp_path)
    assert config is not None
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text("utf-8"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings | {"model_max_length": "long"}), "utf-8")
    with pytest.raises(TrimformerError, match="model_max_length in"):
        read_tokenizer(tmp_path, config)
    (tmp_path / "tokenizer.json").write_text("{", encoding="utf-8")
    with pytest.raises(TrimformerError, match="is not a readable tokenizer"):
        read_tokenizer(tmp_path, config)


def test_texts_of_another_script_are_noticed(folder: Path) -> None:
    theirs, ours = both(folder)
    assert reading_notes(ours, folder, ["καλή ταινία"] * 3) == reading_notes(theirs, folder, ["καλή ταινία"] * 3)
