"""PoWER-BERT: its penalty, what it leaves, the target, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.learning import batches, context, make_method, toy_task, toy_tokenizer
from tests.models import tiny, with_tokens
from trimformer import Gates, TrimformerError, trim
from trimformer.encoder.model.heads import head_class
from trimformer.methods import METHODS
from trimformer.methods.tokens.power_bert import able
from trimformer.pipeline.check import check_stages
from trimformer.recipe.settings import StageSettings
from trimformer.starts import Origin, Origins

NAME = "power-bert"


def trained(stage: Any, **settings: Any) -> Any:
    method, given = make_method(NAME, stage, **settings), batches(stage, 6)
    for step in range(1, stage.steps + 1):
        method.micro_step(given[(step - 1) % 6], 1.0)
        method.update(step)
    return method


def test_the_penalty_weighs_layers_by_their_number_and_is_all_that_moves_ranks_that_no_text_has() -> None:
    method = make_method(NAME, context(layers=4), penalty=0.5)
    kept = method.networks["retention"]()
    assert [None if own is None else len(own) for own in kept] == [12, 12, 12, None]  # the longest text has 12 tokens
    assert method.penalty(kept).item() == 0.5 * 12 * (1 + 2 + 3)
    method.penalty(kept).backward()
    assert [own.grad.unique().tolist() for own in method.retention.values.values()] == [[0.5], [1.0], [1.5]]


def test_retentions_fall_stay_between_0_and_1_and_weights_learn() -> None:
    stage = context(epochs=4)
    before = {name: value.clone() for name, value in stage.model.state_dict().items()}
    method = trained(stage, penalty=0.05)
    for own in method.retention.values.values():
        assert 0 <= own.min() <= own.max() <= 1
    assert all(share < 1 for share in method.retention.shares.values())
    moved = [name for name, value in method.model.state_dict().items() if not torch.equal(value, before[name])]
    assert any("attention.value" in name for name in moved)
    curve = method.history.curves["tokens_kept"]
    assert len(curve) == stage.steps
    assert curve[-1][1][2] == 1.0


def test_what_is_left_is_rounded_down_and_never_rises() -> None:
    method = make_method(NAME, context(layers=4))
    with torch.no_grad():
        for own, value in zip(method.retention.values.values(), (0.5, 0.8, 0.3), strict=True):
            own.fill_(value)
        method.retention.values["2"][0] = 0.2999
    model = method.result().model
    assert [shape.tokens for shape in model.config.shapes] == [0.5, 0.5, 0.2999, None]
    for name, weight in method.model.state_dict().items():
        assert torch.equal(weight, model.state_dict()[name])


def test_without_a_training_the_model_is_what_it_was() -> None:
    stage = context()
    left = make_method(NAME, stage).result().model
    assert left.config.shapes == stage.model.config.shapes


@pytest.mark.parametrize("target", [0.5, 0.8])
def test_a_target_is_reached_as_near_as_whole_tokens_allow(target: float) -> None:
    method = trained(context(layers=4, epochs=2), target=target)
    method.length = 400  # at nine tokens a single one is many operations
    method.dense = method.cost_of({}) * method.dense
    assert method.cost_of(method.chosen()) == pytest.approx(target, abs=0.01)
    assert f"(target {target:g})" in method.notes()[0]


def test_a_target_that_is_out_of_reach_is_refused() -> None:
    with pytest.raises(TrimformerError, match=r"A target of 0\.05 is out of reach: 0\.\d+ of the layers' operations"):
        make_method(NAME, context(), target=0.05)


def test_layers_from_the_last_that_mixes_on_hand_on_all() -> None:
    assert able(tiny(4).config) == [0, 1, 2]
    assert able(trim(tiny(4), attention={1: "mean", 3: "none"}).config) == [0]
    with pytest.raises(TrimformerError, match="No layer of this model attends before the last one"):
        make_method(NAME, context(layers=3, attention={0: "mean", 1: "none"}))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"classifier_pooling": "mean"}, r"needs a head that reads the first token alone, .* \(mean\)"),
        ({"embedding": {"pooling": "mean"}}, r"\(mean\)"),
        ({"embedding": {"pooling": "lasttoken"}}, r"\(lasttoken\)"),
    ],
)
def test_heads_that_read_other_tokens_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(TrimformerError, match=said):
        METHODS[NAME].after(METHODS[NAME].Settings(), tiny(**changes).config)
    METHODS[NAME].after(METHODS[NAME].Settings(), tiny(embedding={"pooling": "cls"}).config)


def test_twice_is_refused() -> None:
    with pytest.raises(TrimformerError, match="hand on fewer tokens already"):
        METHODS[NAME].after(METHODS[NAME].Settings(), with_tokens(tiny(), 4).config)


def stages(*changes: dict[str, Any]) -> list[StageSettings]:
    search = {"name": "search", "method": {"name": NAME}, "start": "dense"}
    repair = {"name": "repair", "method": {"name": "finetune"}}
    return [StageSettings(**own | change) for own, change in zip((search, repair), changes, strict=True)]


def checked(kind: Any, *changes: dict[str, Any]) -> Any:
    origin = Origin(tiny().config)
    nothing: Any = None  # no stage starts from the checkpoint
    origins = Origins(nothing, toy_tokenizer(), True, toy_task(kind), dense=origin, previous=origin)
    return check_stages(stages(*changes), origins, 12)


@pytest.mark.parametrize("kind", ["tokens", "spans", "masked-lm"])
def test_kinds_that_answer_for_tokens_are_refused_before_any_work(kind: str) -> None:
    with pytest.raises(TrimformerError, match=f"Stage search: power-bert is for .* and the task is {kind}"):
        checked(kind, {}, {})


def test_what_compares_all_tokens_is_refused_after_it_before_any_work() -> None:
    checked("classification", {"objective": {"logits": 1.0, "hidden": 1.0}}, {"objective": {"logits": 1.0}})
    with pytest.raises(TrimformerError, match="Stage repair: The term 'hidden' of the objective compares all tokens"):
        checked("classification", {}, {"objective": {"hidden": 1.0}})


@pytest.mark.parametrize("attention", [{1: "mean"}, {0: "sparse-star", 2: "sparse-star"}])
def test_it_goes_with_other_attention(attention: dict[int, str]) -> None:
    method = trained(context(layers=4, attention=attention, epochs=2), penalty=0.05)
    left = method.result().model.eval()
    kinds = [shape.attention for shape in left.config.shapes]
    assert kinds == [shape.attention for shape in method.model.config.shapes]
    assert all((shape.tokens is None) == (i not in able(left.config)) for i, shape in enumerate(left.config.shapes))
    batch = batches(method.context, 1)[0]
    batch.pop("labels")
    with torch.no_grad():
        assert torch.isfinite(left(**batch).logits).all()


def test_an_embedding_model_of_the_first_token_can_have_it() -> None:
    config = tiny(embedding={"pooling": "cls"}).config
    model = head_class("embedding")(with_tokens(tiny(embedding={"pooling": "cls"}), 4).config).eval()
    assert model.reads_first(config)
    with torch.no_grad():
        vectors = model(torch.randint(4, 50, (2, 9)), gates=Gates()).logits
    assert vectors.shape == (2, 16)
