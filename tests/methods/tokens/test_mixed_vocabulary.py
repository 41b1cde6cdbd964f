"""A vocabulary of one's own: how words are cut by either, what the model begins with, and what is left."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedTokenizerFast

from tests.learning import context, make_method, toy_task
from tests.models import tiny
from tests.tinymodel import write_csv, write_stock_bert
from trimformer import TrimformerError
from trimformer.methods import METHODS, Context
from trimformer.pipeline.run import run
from trimformer.recipe.reading import parse
from trimformer.tasks.data import Examples
from trimformer.tasks.encode import encode
from trimformer.training.loop import train
from trimformer.training.paired import TEACHER

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
TEXTS = ["The film was good and moving", "a dull dull plot", "the music was moving", "good good filming", "zebra ☃ the"]
PAIRS = ["was it good", "no", "the plot", "and filming", "a"]


def wordpiece() -> PreTrainedTokenizerFast:
    inner = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    inner.normalizer = normalizers.Lowercase()
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.WordPieceTrainer(vocab_size=70, special_tokens=SPECIAL, show_progress=False)
    inner.train_from_iterator([text for text in TEXTS if "☃" not in text] * 3 + ["zebra"], trainer)
    inner.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), SPECIAL, strict=True))
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    return PreTrainedTokenizerFast(tokenizer_object=inner, model_input_names=inputs, **names)


def stage(pairs: bool = False, tokenizer: Any = None, **others: Any) -> Context:
    tokenizer = tokenizer or wordpiece()
    texts: list[Any] = [TEXTS, PAIRS if pairs else None]
    rows = encode(toy_task(), Examples(texts[0], texts[1], [0, 1, 0, 1, 0]), tokenizer, 40)
    made = {"labels": 2, "vocab_size": len(tokenizer) + 2} | others
    return dataclasses.replace(
        context(objective={"logits": 1.0}, teacher=made), model=tiny(**made), tokenizer=tokenizer, train=rows
    )


def made(share: float, **others: Any) -> Any:
    return make_method("mixed-vocabulary", stage(**others), size=40, share=share)


def rows_of(method: Any) -> list[list[int]]:
    return [method.context.rows.read(index)[0] for index in range(len(TEXTS))]


@pytest.mark.parametrize("pairs", [False, True])
def test_no_word_or_every_word_is_cut_by_the_new_vocabulary(pairs: bool) -> None:
    none, every = made(0.0, pairs=pairs), made(1.0, pairs=pairs)
    old, new = none.context.tokenizer, every.tokenizer
    given = [TEXTS, PAIRS] if pairs else [TEXTS]
    assert rows_of(none) == old(*given)["input_ids"]
    special = {old.convert_tokens_to_ids(token): new.convert_tokens_to_ids(token) for token in SPECIAL}
    read = [[special[i] if i in special else i - every.old for i in row] for row in rows_of(every)]
    assert read == new(*given)["input_ids"]
    if pairs:
        types = [every.context.rows.read(index)[1] for index in range(len(TEXTS))]
        assert types == new(*given)["token_type_ids"]


def test_words_are_drawn_one_by_one_and_anew_in_each_pass() -> None:
    method = made(0.5)
    rows = method.context.rows
    count = words = 0
    for epoch in range(200):
        drawn = rows.of_epoch(3, epoch)
        for index in range(len(TEXTS)):
            place = slice(*rows.rows.offsets[index : index + 2])
            left = drawn.read(index)[0]
            assert left == rows.of_epoch(3, epoch).read(index)[0]
            for word in method.words.split(rows.rows.ids[place]):
                cut = rows.cut(word)
                new = left[: len(cut)] == cut and cut != list(word)
                assert new or left[: len(word)] == list(word)  # no word is cut by both
                left = left[len(cut) if new else len(word) :]
                if method.words.can_be_cut(word):
                    count, words = count + new, words + 1
            assert left == []
    assert count / words == pytest.approx(0.5, abs=0.02)
    assert rows.of_epoch(3, 0).read(0) != rows.of_epoch(3, 1).read(0) or rows.of_epoch(3, 0).read(1) != rows.read(1)


def test_the_teacher_goes_on_reading_the_old_vocabulary() -> None:
    method = made(1.0)
    batch, plain = method.context.rows.batch([1, 0]), method.context.rows.rows.batch([1, 0])
    assert all(torch.equal(batch[TEACHER + name], own) for name, own in plain.items() if name != "labels")
    assert torch.equal(batch["labels"], plain["labels"])
    assert torch.equal(batch["attention_mask"].sum(1), (batch["input_ids"] != 0).sum(1))
    assert batch["input_ids"].max() >= method.old > plain["input_ids"].max()


def test_new_rows_begin_as_the_mean_of_what_they_are_spelled_of() -> None:
    method = made(0.5)
    before, table = stage().model.get_input_embeddings().weight, method.model.get_input_embeddings().weight
    assert torch.equal(table[: method.old], before)
    old = method.context.tokenizer
    for piece, index in method.ids.items():
        known = old.get_vocab().get(piece)
        spelled = [known] if known is not None else old.convert_tokens_to_ids(old.tokenize(piece.removeprefix("##")))
        torch.testing.assert_close(table[method.old + index], before[spelled].mean(0))


def test_what_is_left_answers_as_the_mixture_does_with_every_word_cut_anew(tmp_path: Path) -> None:
    given = stage()
    method = make_method("mixed-vocabulary", given, size=40)
    train(method, method.context.rows, given.training, given.accelerator, tmp_path, seed=0, title="toy")
    result = method.result()
    every = dataclasses.replace(method.context.rows, share=1.0).batch(range(len(TEXTS)))
    inputs = {name: own for name, own in every.items() if name != "labels" and not name.startswith(TEACHER)}
    read = result.tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        torch.testing.assert_close(result.model.eval()(**read).logits, method.model.eval()(**inputs).logits)
    assert result.model.config.vocab_size == len(result.tokenizer) == len(method.ids)
    assert result.model.config.pad_token_id == result.tokenizer.pad_token_id
    assert f"{len(method.ids)} tokens of a new vocabulary" in result.notes[0]


def test_rows_that_become_too_long_lose_words_before_the_last_token() -> None:
    method = made(1.0, max_position_embeddings=9)
    whole = made(1.0)
    for short, long in zip(rows_of(method), rows_of(whole), strict=True):
        assert short == (long if len(long) <= 9 else [*long[:8], long[-1]])
    assert any(len(row) > 9 for row in rows_of(whole))


def bpe() -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE({"a": 0}, [])), unk_token="a", pad_token="a")


def test_what_cannot_be_cut_anew_is_refused() -> None:
    with pytest.raises(TrimformerError, match=r"for WordPiece and WordLevel tokenizers, and this is a BPE tokenizer"):
        METHODS["mixed-vocabulary"].check_tokenizer(bpe(), tiny().config)
    with pytest.raises(TrimformerError, match="more tokens than the word table has rows"):
        make_method("mixed-vocabulary", dataclasses.replace(stage(), model=tiny(vocab_size=5, labels=2)))


def recipe(folder: Path, **objective: float) -> Any:
    write_stock_bert(folder / "bert")
    write_csv(folder / "data.csv")
    training = {"epochs": 1, "batch_size": 16, "learning_rate": 1e-3}
    stages = [
        {"name": "mix", "method": {"name": "mixed-vocabulary", "size": 24}, "objective": objective},
        {"name": "repair", "method": {"name": "finetune"}, "objective": {"logits": 1.0}},
    ]
    content = {
        "model": str(folder / "bert"),
        "task": {"data": str(folder / "data.csv"), "text": "review", "label": "stars"},
        "out": str(folder / "out"),
        "precision": "fp32",
        "dense": training,
        "stages": [stage | {"training": training} for stage in stages],
        "measure": {"backends": ["torch"], "batch": [1], "length": [8]},
        "export": {"onnx": False},
    }
    return parse(content, "x")


def test_terms_that_compare_tokens_are_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(TrimformerError, match=r"Stage mix: the model and its teacher split texts differently.*logits"):
        run(recipe(tmp_path, hidden=1.0))


def test_a_recipe_leaves_model_and_tokenizer_of_the_new_vocabulary(tmp_path: Path) -> None:
    run(recipe(tmp_path, logits=1.0))
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out" / "model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out" / "model")
    assert model.config.vocab_size == len(tokenizer)
    assert tokenizer.tokenize("clumsy film") != ["clumsy", "film"]
    assert np.isfinite(model(**tokenizer("clumsy film", return_tensors="pt")).logits.detach().numpy()).all()


def test_what_the_recipe_check_foresees():
    """A padding that is not among the new ids stands first there; a vocabulary that is no smaller is refused."""
    method, settings = METHODS["mixed-vocabulary"], METHODS["mixed-vocabulary"].Settings(size=24)
    config = tiny(vocab_size=60, labels=2).config
    config.pad_token_id = 55
    assert (method.after(settings, config).vocab_size, method.after(settings, config).pad_token_id) == (24, 0)
    with pytest.raises(TrimformerError, match="no smaller than that of the model, 24: set a smaller size"):
        method.after(settings, tiny(vocab_size=24, labels=2).config)
    assert not method.nests  # sub-networks of DynaBERT have not learned the new words
