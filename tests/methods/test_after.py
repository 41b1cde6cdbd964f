"""What a stage leaves is known before any training, as far as it does not depend on it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.learning import batches, context, make_method
from tests.models import FAMILY_NAMES, tiny
from trimformer import Gates, TrimformerError, trim
from trimformer.methods import METHODS
from trimformer.methods.expected import shape_after

KINDS = [{}, {0: "mean", 2: "none"}]
BY_RULE = (
    "deformer", "depth", "dynabert", "finetune", "last-k", "layerdrop", "lottery-ticket", "low-rank", "magnitude",
    "movement", "repair", "rpp", "share", "sparse", "squeeze", "theseus",
)  # fmt: skip
"""The methods that do not learn which shape is left."""
FOUND = ("block-movement", "hard-concrete", "darts", "nas-masks", "tas", "random", "tpe", "uniform")
"""Those of which nothing is known before: which shape is left depends on the training."""


def settings_of(name: str, **changes: Any) -> Any:
    known = {"replace_by": "mean"} if "replace_by" in METHODS[name].Settings.model_fields else {}
    return METHODS[name].Settings(**METHODS[name].example | known | changes)


def counts(config: Any) -> tuple[Any, ...]:
    kinds = [shape.attention for shape in config.shapes]
    return len(kinds), kinds.count("full"), {shape.ffn for shape in config.shapes}


@pytest.mark.parametrize("kinds", KINDS, ids=str)
@pytest.mark.parametrize("name", sorted(METHODS))
def test_what_is_left_is_as_large_as_what_was_foreseen(name: str, kinds: dict[int, str]) -> None:
    if name == "tpe":
        pytest.importorskip("optuna")
    dense = {"objective": {"logits": 1.0}, "teacher": {}} if METHODS[name].needs_dense else {}
    stage = context(layers=4, attention=kinds, **dense)
    before = stage.model.config.to_dict()
    foreseen = METHODS[name].after(settings_of(name), stage.model.config)
    assert stage.model.config.to_dict() == before
    method = make_method(name, stage, **settings_of(name).model_dump(exclude={"name"}))
    if method.trains:
        method.micro_step(batches(stage, 1)[0], 1.0)
        method.update(stage.steps)
    left = method.result().model.config
    if name in FOUND:
        assert foreseen == stage.model.config
    elif name == "adabert":  # what it leaves, it finds among these cells
        assert foreseen.layer_kind == left.layer_kind
        assert foreseen.num_hidden_layers >= left.num_hidden_layers
    else:
        assert counts(foreseen) == counts(left)
    if name in BY_RULE:
        assert foreseen.shapes == left.shapes


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_no_weights_are_needed(family: str) -> None:
    import torch

    model = tiny(family=family)
    gates = Gates(attention=torch.tensor([1.0, 0.0, 1.0]), layers=torch.tensor([1.0, 1.0, 0.0]))
    assert shape_after(model.config, gates).shapes == trim(model, gates).config.shapes


@pytest.mark.parametrize("name", ["last-k", "random-k", "greedy", "attendout", "attendout-faithful", "importance"])
def test_only_layers_that_can_lose_their_attention_count(name: str) -> None:
    config = trim(tiny(4), attention={0: "mean", 2: "none"}).config
    for keep in (3, 9):
        with pytest.raises(TrimformerError, match=rf"keep_layers={keep} .* has 2 layers with attention, so keep 0 to"):
            METHODS[name].after(settings_of(name, keep_layers=keep), config)
    if name != "attendout-faithful":
        left = METHODS[name].after(settings_of(name, keep_layers=3, replace_by="none"), config)
        assert [shape.attention for shape in left.shapes] == ["mean", "full", "none", "full"]


def test_a_generator_cannot_start_from_a_layer_without_attention() -> None:
    config = trim(tiny(), attention={0: "mean"}).config
    settings = METHODS["attendout-faithful"].Settings(generator_start="first-layer")  # type: ignore[call-arg]
    with pytest.raises(TrimformerError, match="set generator_start to random"):
        METHODS["attendout-faithful"].after(settings, config)


def test_the_reversed_control_keeps_as_many_layers_where_some_are_without_attention() -> None:
    method = make_method("attendout", context(layers=5, attention={0: "mean"}), keep_layers=1, control="reversed")
    method._final_reward = lambda kept: float(kept == (2,))
    method.policy.logits.data[2] = 9.0
    assert method.decide().attention.tolist() == [0, 0, 0, 1, 0]  # of the layers 1 to 4
