"""DeFormer: the split, what is learned, and what is refused before any work."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np
import pytest
import torch

from tests.learning import batches, context, make_method, toy_tokenizer
from tests.tinymodel import words_tokenizer
from trimformer import TrimformerError
from trimformer.encoder.model.heads import task_loss
from trimformer.methods import METHODS
from trimformer.methods.structure.deformer import split
from trimformer.training.distill import hidden_loss, logit_loss

OBJECTIVE = METHODS["deformer"].standard.objective
KINDS = ["classification", "multilabel", "regression", "ranking", "spans"]


def stage_of(kind: str = "classification") -> Any:
    """The toy task, whose rows are pairs: the second text begins with the fourth token."""
    stage = context(kind=kind, objective=OBJECTIVE.model_dump(), teacher={"seed": 1})
    types = [(np.arange(n) > 2).astype(np.uint8) for n in stage.train.lengths]
    return dataclasses.replace(stage, train=dataclasses.replace(stage.train, types=np.concatenate(types)))


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_the_published_sum(kind: Any) -> None:
    stage = stage_of(kind)
    method = make_method("deformer", stage, split_layers=1)
    method.model.eval()  # no dropout
    batch = batches(stage, 1)[0]
    with torch.no_grad():
        loss = method.objective(method.networks["model"], batch)
        inputs = {name: value for name, value in batch.items() if name != "labels"}
        ours, theirs = (model(**inputs, output_hidden_states=True) for model in (method.model, stage.teacher.eval()))
    mask = batch["attention_mask"]
    upper = hidden_loss(ours.hidden_states[2:], theirs.hidden_states[2:], mask)
    answers = logit_loss(kind, ours.logits, theirs.logits, mask, 1.0)
    expected = 0.7 * task_loss(kind, ours.logits, batch["labels"], mask) + 1.1 * answers + 0.5 * upper
    torch.testing.assert_close(loss, expected)


def test_it_learns_and_leaves_a_split_encoder() -> None:
    stage = stage_of()
    method = make_method("deformer", stage, split_layers=2)
    before = {name: weight.clone() for name, weight in method.model.state_dict().items()}
    torch.testing.assert_close(before, dict(stage.model.state_dict()))  # it starts as what it was made of
    method.micro_step(batches(stage, 1)[0], 1.0)
    method.update(1)
    result = method.result()
    assert (result.model.config.split_layers, result.model.config.positions) == (2, "by_segment")
    assert any(not torch.equal(weight, before[name]) for name, weight in result.model.state_dict().items())
    first, second, third = result.notes
    assert first == "the first 2 layers see each text of a pair by itself, and the last one sees both."
    assert second == "the second text of each pair is numbered from 3 on."
    assert "training rows have 3 and " in third
    assert "where what it makes of the second text is kept" in third


def test_its_costs_fall() -> None:
    *_, note = make_method("deformer", stage_of(), split_layers=2).notes()
    joint, apart, cached = map(float, re.findall(r"(?:computes|this one|and) ([0-9.e-]+)", note.partition(";")[2]))
    assert joint > apart > cached


def test_passages_start_behind_the_median_first_text() -> None:
    stage = stage_of()
    lengths = np.minimum(np.arange(len(stage.train)) % 3 + 1, stage.train.lengths)
    types = [(np.arange(n) >= first).astype(np.uint8) for n, first in zip(stage.train.lengths, lengths, strict=True)]
    longer = dataclasses.replace(stage, train=dataclasses.replace(stage.train, types=np.concatenate(types)))

    def start(stage: Any, **settings: Any) -> int:
        found: int = make_method("deformer", stage, split_layers=1, **settings).model.config.passage_start
        return found

    assert start(longer) == int(np.median(lengths)) == 2
    assert start(longer, passage_start=7) == 7
    # An encoder that numbers each text by itself was trained on these numbers, wherever its rows' texts begin.
    assert start(dataclasses.replace(longer, model=split(longer.model, 1, 1))) == 1


@pytest.mark.parametrize(("layers", "said"), [(3, "set it to 1 to 2"), (7, "leaves none of the 3 layers")])
def test_a_layer_must_see_both(layers: int, said: str) -> None:
    with pytest.raises(TrimformerError, match=said):
        METHODS["deformer"].after(METHODS["deformer"].Settings(split_layers=layers), context().model.config)


def test_the_tokenizer_must_tell_the_texts_apart() -> None:
    config = context().model.config
    tokenizer = words_tokenizer()
    tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    METHODS["deformer"].check_tokenizer(tokenizer, config)
    with pytest.raises(TrimformerError, match="cannot be told apart"):
        METHODS["deformer"].check_tokenizer(toy_tokenizer(), config)
