"""DeeBERT, FastBERT and PABEE: what is trained, what is minimised, and which threshold is chosen."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tests.learning import batches, context, make_method
from trimformer import LayerShape, TrimformerError
from trimformer.encoder.parts.attention.base import replaced
from trimformer.measure.cost import flops_by_exit, mean_flops
from trimformer.methods import METHODS
from trimformer.methods.exits.base import ExitMethod
from trimformer.methods.exits.base import places as standard_places
from trimformer.methods.exits.thresholds import choose, every_exit
from trimformer.saved.exits import ExitShape, executed_words
from trimformer.tasks.exits import answered, where
from trimformer.training.evaluate import Executed, predict_logits
from trimformer.training.loop import train

EXITS = [name for name, method in METHODS.items() if issubclass(method, ExitMethod)]
FROZEN = ["deebert", "fastbert"]
KINDS = ["classification", "multilabel", "regression", "tokens"]


def bytes_of(model: Any) -> dict[str, bytes]:
    return {name: weight.detach().numpy().tobytes() for name, weight in model.state_dict().items()}


def trained(name: str, folder: Any, **stage: Any) -> Any:
    method = make_method(name, context(folder=folder, **stage))
    torch.manual_seed(5)
    own = method.context
    train(method, own.rows, own.training, own.accelerator, folder, seed=0, title=name)
    return method


def logits_of(method: Any, batch: dict[str, Any]) -> list[torch.Tensor]:
    """Those of the exits and of the last head."""
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    out = method.model(**inputs, output_exits=True)
    return [*out.exit_logits, out.logits]


@pytest.fixture(params=EXITS)
def method(request: pytest.FixtureRequest) -> Any:
    """As it starts, in evaluation, so that nothing is dropped."""
    made = make_method(request.param, context())
    made.model.eval()
    return made


def test_the_loss_is_the_published_one(method: Any) -> None:
    batch = batches(method.context, 1)[0]
    each = [F.cross_entropy(own, batch["labels"]) for own in logits_of(method, batch)]
    last = logits_of(method, batch)[-1].detach()
    published = {
        "deebert": each[0] + each[1],
        "fastbert": each[0]
        + each[1]
        + sum(
            F.kl_div(own.log_softmax(-1), last.softmax(-1), reduction="batchmean")
            for own in logits_of(method, batch)[:-1]
        ),
        "pabee": (1 * each[0] + 2 * each[1] + 3 * each[2]) / 6,
    }
    assert method.loss(batch).item() == pytest.approx(published[method.name].item(), rel=1e-5)


def test_fastbert_reads_no_label_where_the_objective_says_nothing() -> None:
    method = make_method("fastbert", context(objective={"task": 0.0}))
    batch = batches(method.context, 1)[0]
    torch.manual_seed(0)
    loss = method.loss(batch)
    torch.manual_seed(0)
    assert method.loss(batch | {"labels": 1 - batch["labels"]}).item() == loss.item()


@pytest.mark.parametrize("name", EXITS)
def test_what_is_frozen_stays_and_the_exits_learn(name: str, tmp_path: Any) -> None:
    stage = context(folder=tmp_path, epochs=2)
    before = bytes_of(stage.model)
    method = make_method(name, stage)
    start = bytes_of(method.model)
    for step, batch in enumerate(batches(method.context, 4), 1):
        method.micro_step(batch, 1.0)
        method.update(step)
        method.validate()
    after = bytes_of(method.model)
    assert all(after[key] != start[key] for key in after if key.startswith("exits."))
    changed = [key for key in before if before[key] != after[key]]
    assert changed == [] if name in FROZEN else len(changed) > len(before) / 2


@pytest.mark.parametrize("name", EXITS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_ends_with_a_threshold_inside_the_budget(name: str, kind: str, tmp_path: Any) -> None:
    if kind in METHODS[name].refuses:
        pytest.skip("refused: see below")
    method = trained(name, tmp_path, kind=kind, epochs=2)
    result = method.result()
    assert result.exits is not None
    found = result.exits
    chosen, full = found.points[found.chosen], found.points[0]
    assert full.layers == 3
    assert full.score - chosen.score <= 0.005 + 1e-9
    assert result.model.config.exits["threshold"] == chosen.threshold
    assert result.model.config.exits["rule"] == METHODS[name].rule == found.rule
    assert sum(found.executed) == len(method.context.selection)
    # What was worked out from the logits of all exits is what the model does.
    counted = Executed(result.model)
    logits = predict_logits(counted, method.context.selection)
    assert counted.counts == found.executed
    assert method.scores([logits])[0] == pytest.approx(chosen.score, abs=1e-6)


def test_kinds_that_cannot_are_refused_with_the_reason() -> None:
    for name in EXITS:
        assert {"ranking", "spans", "embedding", "masked-lm"} <= set(METHODS[name].refuses)
    assert "use pabee" in METHODS["deebert"].refuses["regression"]
    assert "regression" not in METHODS["pabee"].refuses


def toy() -> tuple[Any, list[np.ndarray], Any]:
    """Three heads on 24 rows whose labels are 0 and 1 in turn: the first is right and sure on the first half of the
    rows and wrong and unsure on the second, the others are always right."""
    method = make_method("deebert", context())
    data = method.context.selection
    right = np.where(data.labels[:, None] == np.arange(2), 2.0, -2.0)
    first = right.copy()
    first[12:] *= -0.1
    return method, [first, right, right], data


def test_the_threshold_with_the_fewest_operations_inside_the_budget_is_chosen() -> None:
    method, logits, data = toy()
    task, half = method.context.task, dataclasses.replace(method.shape, max_drop=0.5)
    found, findings = choose(method.model, half, task, data, logits)
    assert findings.executed == [12, 12, 0]
    assert findings.points[findings.chosen].score == 1
    assert findings.points[0].layers == 3
    places = where(found, data, logits)
    assert places.tolist() == [0] * 12 + [1] * 12
    assert np.array_equal(answered(data, logits, places), np.where(data.labels[:, None] == np.arange(2), 2.0, -2.0))
    # Half of the rows may be wrong: all leave at once.
    _, loose = choose(method.model, dataclasses.replace(half, max_drop=50.0), task, data, logits)
    assert loose.executed == [24, 0, 0]


def test_where_no_exit_is_inside_the_budget_no_text_leaves() -> None:
    method, logits, data = toy()
    logits = [-logits[1], -logits[1], logits[2]]
    _, findings = choose(method.model, method.shape, method.context.task, data, logits)
    assert findings.executed == [0, 0, 24]
    assert findings.chosen == 0


def test_operations_until_an_exit_count_the_heads_that_were_met() -> None:
    method = make_method("deebert", context())
    model = method.model
    head = model.exit_type(model.config).flops(model.config, 2)
    first, second, whole = flops_by_exit(model.config, 12, type(model))
    layer = second - first - head
    assert first == pytest.approx(layer + head)
    model.config.exits = None
    assert whole == pytest.approx(flops_by_exit(model.config, 12, type(model))[0] + 2 * head)
    model.config.exits = method.shape.to_dict()
    assert mean_flops(model.config, 12, type(model), [1, 0, 3]) == pytest.approx((first + 3 * whole) / 4)


def test_what_all_exits_say_is_given_in_the_order_of_the_rows() -> None:
    for kind in ("classification", "tokens"):
        method = make_method("deebert", context(kind=kind))
        data, model = method.context.selection, method.model.eval()
        found = every_exit(model, data, 3)
        batch = data.batch([5])
        labels = batch.pop("labels")
        with torch.no_grad():
            out = model(**batch, output_exits=True)
        rows = slice(data.offsets[5], data.offsets[6]) if kind == "tokens" else slice(5, 6)
        for own, expected in zip(found, [*out.exit_logits, out.logits], strict=True):
            got = expected[0] if kind == "tokens" else expected
            np.testing.assert_allclose(own[rows], got.numpy(), atol=1e-5)
        assert labels is not None


def test_layers_in_words() -> None:
    assert executed_words([2, 0, 4, 0, 0, 4]) == (
        "60 % of the texts need at most 3 of 6 layers, and the mean is 3.80 (1: 20 %, 3: 40 %, 6: 40 %)."
    )
    assert executed_words([1, 3]) == "75 % of the texts need all 2 layers, and the mean is 1.75 (1: 25 %, 2: 75 %)."
    assert executed_words([3, 1]) == "75 % of the texts need 1 of 2 layers, and the mean is 1.25 (1: 75 %, 2: 25 %)."


@pytest.mark.parametrize(
    ("settings", "layers", "said"),
    [
        ({"after": [2]}, 3, "exits stand after the layers 0 to 1"),
        ({"after": [1, 0]}, 3, "from the lowest on"),
        ({}, 1, "no place for an exit"),
    ],
)
@pytest.mark.parametrize("name", EXITS)
def test_exits_that_the_encoder_has_no_place_for_are_refused(name: str, settings: Any, layers: int, said: str) -> None:
    with pytest.raises(TrimformerError, match=said):
        METHODS[name].after(METHODS[name].Settings(**settings), context(layers=layers).model.config)


@pytest.mark.parametrize("name", EXITS)
def test_the_shape_is_known_before_training(name: str, tmp_path: Any) -> None:
    method = METHODS[name]
    config = context().model.config
    after = method.after(method.Settings(after=[1]), config)
    assert after.exits["after"] == [1]
    result = make_method(name, context(), after=[1]).result()
    assert result.model.config.exits["after"] == [1]
    with pytest.raises(TrimformerError, match="let the stage with exits be the last one"):
        method.check_next(method.Settings(), METHODS["finetune"].Settings())


def test_a_budget_of_an_error_is_refused() -> None:
    stage = context(kind="regression")
    stage = dataclasses.replace(stage, task=dataclasses.replace(stage.task, metrics=("mse",)))
    with pytest.raises(TrimformerError, match="max_drop counts points"):
        make_method("pabee", stage, max_drop=0.5)
    assert make_method("pabee", stage).shape == ExitShape((0, 1), "patience", 2, 0.1, reads="mean")


def test_by_default_each_exit_is_twice_as_deep_as_the_one_before() -> None:
    def after(layers: int, attending: int) -> tuple[int, ...]:
        full = LayerShape("full", 2, 8, 24)
        shapes = [full] * attending + [replaced(full, "none")] * (layers - attending)
        return standard_places(context(layers=1).model.config.with_shapes(shapes))

    assert [after(layers, layers) for layers in (2, 3, 4, 6, 12, 24)] == [
        (0,),
        (0, 1),
        (0, 2),
        (0, 1, 3),
        (1, 3, 7),
        (3, 7, 15),
    ]
    assert after(12, 6) == (0, 1, 3)  # no token reads another one above
    assert after(6, 0) == (0, 1, 3)


@pytest.mark.parametrize("name", EXITS)
def test_exits_learn_at_a_rate_of_their_own(name: str) -> None:
    method = make_method(name, context(), exit_learning_rate=0.02)
    apart = [group for group in method.networks["model"].optimizer.param_groups if group["initial_lr"] == 0.02]
    assert [{*map(id, group["params"])} for group in apart] == [{*map(id, method.model.exits.parameters())}]


@pytest.mark.parametrize("name", EXITS)
def test_an_exit_reads_the_mean_over_the_real_tokens(name: str) -> None:
    method = make_method(name, context())
    batch = {key: value for key, value in batches(method.context, 1)[0].items() if key != "labels"}
    model = method.model.eval()
    with torch.no_grad():
        states = model(**batch, output_hidden_states=True, output_exits=True)
        real = batch["attention_mask"][..., None]
        mean = (states.hidden_states[1] * real).sum(1) / real.sum(1)
        head = model.exits["0"].output
        torch.testing.assert_close(states.exit_logits[0], mean @ head.weight.T + head.bias)
    as_published = make_method(name, context(), reads="head").model
    assert type(as_published.exits["0"]) is type(as_published.head)
