"""Tokens that no text uses go; what is left reads and answers as before."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizer, PreTrainedTokenizerFast

from tests.learning import context, make_method, toy_task
from tests.models import tiny
from tests.tinymodel import write_csv, write_stock_bert
from trimformer import TrimformerError
from trimformer.encoder.checkpoints.load import load_tokenizer, load_with_head, read_config
from trimformer.methods import Context, Result
from trimformer.pipeline.run import run
from trimformer.recipe.reading import parse
from trimformer.tasks.data import Examples
from trimformer.tasks.encode import encode

USED = ["the film was good and moving", "a dull plot", "the music was moving", "good good film"]
OTHERS = ["thermal filmography", "goodness was unmoving", "zebra quartz"]
KINDS = ["wordpiece", "bytes", "bpe", "unigram"]
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]  # in RoBERTa's order


def wordpiece() -> Tokenizer:
    inner = Tokenizer(models.WordPiece(unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.train_from_iterator(
        [*USED, *OTHERS] * 3, trainers.WordPieceTrainer(vocab_size=90, special_tokens=SPECIAL, show_progress=False)
    )
    return inner


def bytes_() -> Tokenizer:
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    inner.train_from_iterator([*USED, *OTHERS] * 3, trainer)
    return inner


def bpe() -> Tokenizer:
    inner = Tokenizer(models.BPE(unk_token="<unk>", continuing_subword_prefix="##"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(
        vocab_size=110, special_tokens=SPECIAL, continuing_subword_prefix="##", show_progress=False
    )
    inner.train_from_iterator([*USED, *OTHERS] * 3, trainer)
    return inner


def unigram() -> Tokenizer:
    words = sorted({word for text in [*USED, *OTHERS[:2]] for word in text.split()})
    letters = sorted(set("".join(words)))
    pieces = [(f"▁{word}", -2.0 - i / 9) for i, word in enumerate(words)]
    pieces += [(letter, -7.0 - i / 9) for i, letter in enumerate(letters)] + [("▁", -6.0), ("rare", -30.0)]
    inner = Tokenizer(models.Unigram([*((token, 0.0) for token in SPECIAL), *pieces], unk_id=3))
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    return inner


def tokenizer_of(kind: str) -> PreTrainedTokenizerFast:
    inner = {"wordpiece": wordpiece, "bytes": bytes_, "bpe": bpe, "unigram": unigram}[kind]()
    pair = [("<s>", 0), ("</s>", 2)]
    templates: Any = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=pair
    )
    plain = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    inner.post_processor = processors.Sequence([plain]) if kind == "bytes" else templates
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, cls_token="<s>", pad_token="<pad>", sep_token="</s>", unk_token="<unk>",
        extra_special_tokens=["<entity>"], model_max_length=17, truncation_side="left",
        model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip


class Slow(PreTrainedTokenizer):
    """A tokenizer written in Python."""

    vocab_size = 0

    def get_vocab(self) -> dict[str, int]:
        return {}


def stage(tokenizer: Any, family: str = "bert", used: list[str] | None = None, **others: Any) -> Context:
    """The texts that are used as training rows, all others as selection rows."""
    model = tiny(family=family, vocab_size=len(tokenizer) + 3, labels=2, **{"pad_token_id": 1} | others)
    rows = [Examples(texts, None, [0] * len(texts)) for texts in (used or USED, [*USED, *OTHERS])]
    train, selection = (encode(toy_task(), part, tokenizer, 20) for part in rows)
    return dataclasses.replace(context(), model=model, tokenizer=tokenizer, train=train, selection=selection)


def shrunk(given: Context, **settings: Any) -> tuple[Result, Any]:
    result = make_method("vocabulary", given, **settings).result()
    assert result.tokenizer is not None
    return result, result.tokenizer


def logits(model: Any, tokenizer: Any, texts: list[str]) -> torch.Tensor:
    with torch.no_grad():
        answer: torch.Tensor = model(**tokenizer(texts, padding=True, return_tensors="pt")).logits
        return answer


@pytest.mark.parametrize("family", ["bert", "roberta"])
@pytest.mark.parametrize("kind", KINDS)
def test_texts_whose_tokens_stay_get_the_same_logits(kind: str, family: str, tmp_path: Path) -> None:
    given = stage(tokenizer_of(kind), family)
    old: Any = given.tokenizer
    result, new = shrunk(given)
    size = result.model.config.vocab_size
    assert size == len(new) < len(old)
    assert result.model.state_dict()["encoder.embeddings.word.weight"].shape == (size, 16)
    for texts in (USED, ["moving was the film", "a good plot and music dull"]):
        assert [new.tokenize(text) for text in texts] == [old.tokenize(text) for text in texts]
        expected = logits(given.model, old, texts)
        torch.testing.assert_close(logits(result.model, new, texts), expected, rtol=0, atol=0)
    result.model.save_pretrained(tmp_path)
    new.save_pretrained(tmp_path)
    loaded = load_tokenizer(tmp_path)
    assert loaded.get_vocab() == new.get_vocab()
    torch.testing.assert_close(logits(load_with_head(tmp_path), loaded, USED), logits(given.model, old, USED))
    for name in ("special_tokens_map", "extra_special_tokens", "model_max_length", "truncation_side"):
        assert getattr(loaded, name) == getattr(old, name), name
    assert loaded.model_input_names == ["input_ids", "attention_mask"]
    assert loaded("the <entity> film", "dull").input_ids == new("the <entity> film", "dull").input_ids
    assert loaded.convert_ids_to_tokens(loaded("a", "a").input_ids) == old.convert_ids_to_tokens(
        old("a", "a").input_ids
    )


@pytest.mark.parametrize("kind", ["bytes", "bpe"])
def test_the_pieces_that_merges_need_stay(kind: str) -> None:
    given = stage(tokenizer_of(kind), used=["moving film"])
    _, new = shrunk(given)
    content = json.loads(new.backend_tokenizer.to_str())
    counted = given.train.ids
    known: Any = given.tokenizer
    used = set(known.convert_ids_to_tokens(counted.tolist()))
    pieces = {piece for pair in content["model"]["merges"] for piece in pair}
    assert pieces - used  # no text has them, but they lead to those that it has
    assert pieces <= content["model"]["vocab"].keys()
    assert new.tokenize("moving film") == known.tokenize("moving film")


def test_no_byte_is_lost() -> None:
    _, new = shrunk(stage(tokenizer_of("bytes")))
    assert set(pre_tokenizers.ByteLevel.alphabet()) <= new.get_vocab().keys()
    assert new.decode(new("Übung 東京").input_ids, skip_special_tokens=True) == "Übung 東京"


def test_scores_stay_and_unknown_characters_are_scored_as_before() -> None:
    given = stage(tokenizer_of("unigram"))
    old: Any = given.tokenizer
    _, new = shrunk(given)
    before, after = (json.loads(t.backend_tokenizer.to_str())["model"] for t in (old, new))
    assert {tuple(piece) for piece in after["vocab"]} < {tuple(piece) for piece in before["vocab"]}
    assert after["vocab"][after["unk_id"]][0] == "<unk>"
    assert ["rare", -30.0] in after["vocab"]
    assert new.convert_ids_to_tokens(new("the zoo film").input_ids) == ["<s>", "▁the", "<unk>", "▁film", "</s>"]


def test_what_happens_to_other_texts_is_counted() -> None:
    given = stage(tokenizer_of("wordpiece"))
    result, new = shrunk(given)
    saved, split = result.notes
    old: Any = given.tokenizer
    rows, now = len(old) + 3, len(new)
    assert saved == (
        f"{now} of {rows} rows of the word table stay, which saves {(rows - now) * 16 * 4 / 1e6:.2f} MB."
    )  # fmt: skip
    texts = [*USED, *OTHERS]
    changed = sum(old.tokenize(text) != new.tokenize(text) for text in texts)
    ids = np.concatenate([new(text).input_ids for text in texts])
    assert 0 < changed <= len(OTHERS)
    assert split == (
        f"{changed} of {len(texts)} selection rows are split differently; {(ids == new.unk_token_id).mean():.2%} of "
        "their tokens are unknown, 0.00% before."
    )
    assert (ids == new.unk_token_id).any()


def test_rare_tokens_go_too() -> None:
    given = stage(tokenizer_of("unigram"))
    sizes = [len(shrunk(given, at_least=count)[1]) for count in (1, 2, 99)]
    assert sizes[0] > sizes[1] > sizes[2] == len(SPECIAL) + 2  # <entity> and the lowest piece
    _, twice = shrunk(given, at_least=2)
    assert {"▁good", "▁moving"} <= twice.get_vocab().keys()
    assert "▁dull" not in twice.get_vocab()


def test_ids_in_the_configuration_follow() -> None:
    tokenizer = tokenizer_of("unigram")
    ids: Any = tokenizer.convert_tokens_to_ids(["▁thermal", "▁music"])
    given = stage(tokenizer, pad_token_id=1)
    given.model.config.update({"sep_token_id": ids[0], "eos_token_id": ids[1], "bos_token_id": len(tokenizer) + 1})
    result, new = shrunk(given)
    config = result.model.config
    assert [config.sep_token_id, config.eos_token_id] == new.convert_tokens_to_ids(["▁thermal", "▁music"])
    assert (config.bos_token_id, config.pad_token_id) == (None, new.pad_token_id)


def test_positions_that_are_counted_from_the_padding_stay() -> None:
    """Also where tokens below it are used by no text."""
    inner = json.loads(tokenizer_of("unigram").backend_tokenizer.to_str())
    vocab = inner["model"]["vocab"]
    order = [4, 5, 0, 2, 3, 1, *range(6, len(vocab))]  # <pad> is the sixth
    inner["model"] |= {"vocab": [vocab[i] for i in order], "unk_id": 4}
    inner["added_tokens"] = []
    inner["post_processor"] = None
    backend = Tokenizer.from_str(json.dumps(inner))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", unk_token="<unk>")
    for family, padding in (("roberta", 5), ("bert", None)):
        given = stage(tokenizer, family, used=["the film was good"], pad_token_id=5)
        result, new = shrunk(given)
        assert result.model.config.pad_token_id == new.pad_token_id
        assert padding is None or new.pad_token_id == padding
        texts = ["the film was good", "good film"]
        torch.testing.assert_close(logits(result.model, new, texts), logits(given.model, tokenizer, texts))


def test_what_cannot_be_shortened_is_refused() -> None:
    given = stage(tokenizer_of("unigram"))
    with pytest.raises(TrimformerError, match="a slow tokenizer does not have: save its fast form"):
        shrunk(dataclasses.replace(given, tokenizer=Slow()))
    with pytest.raises(TrimformerError, match="do not fit the word table"):
        shrunk(dataclasses.replace(given, model=tiny(vocab_size=10, pad_token_id=1)))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A classifier without dropout, and texts that use all of its words but two; it is the current folder."""
    write_stock_bert(tmp_path / "bert", ["pos", "neg"])
    config = json.loads((tmp_path / "bert/config.json").read_text())
    none = dict.fromkeys(["hidden_dropout_prob", "attention_probs_dropout_prob"], 0.0)
    (tmp_path / "bert/config.json").write_text(json.dumps(config | none))
    text = write_csv(tmp_path / "data.csv").read_text(encoding="utf-8")
    text = text.replace("music", "plot").replace("clumsy", "stale")
    (tmp_path / "data.csv").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("home")
def test_a_later_stage_learns_with_the_new_tokenizer() -> None:
    training = {"epochs": 1, "batch_size": 16, "learning_rate": 1e-3}
    distilled = {"name": "repair", "method": {"name": "finetune"}, "objective": {"task": 0.0, "logits": 1.0}}
    content = {
        "model": "bert",
        "task": {"data": "data.csv", "text": "review", "label": "stars"},
        "out": "out",
        "precision": "fp32",
        "fine_tune": "never",
        "stages": [
            {"name": "shrink", "method": {"name": "vocabulary"}},
            distilled | {"training": training},
        ],
        "measure": {"backends": ["torch"], "batch": [1], "length": [8]},
        "export": {"onnx": False},
    }
    report = run(parse(content, "x"))
    notes = [note for note in report.notes if note.startswith("shrink: ")]
    assert notes[:2] == [
        "shrink: 18 of 30 rows of the word table stay, which saves 0.00 MB.",
        "shrink: 0 of 8 selection rows are split differently; 0.00% of their tokens are unknown, 0.00% before.",
    ]
    tokenizer = load_tokenizer("out/model")
    assert (len(tokenizer), read_config(Path("out/model")).vocab_size) == (18, 18)
    assert tokenizer("music clumsy good").input_ids.count(tokenizer.unk_token_id) == 2
    first = json.loads(Path("out", "metrics.jsonl").read_text().splitlines()[0])
    assert (first["stage"], first["step"]) == ("repair", 1)
    assert first["loss"] == pytest.approx(0, abs=1e-6)  # the teacher, with the old ids, says the same
