"""Hard-concrete gates: their distribution, the budget, what is settled in the end, a toy whose best mask is known."""

import dataclasses
import io
import math

import pytest
import torch

from tests.learning import batches, context, make_method
from tests.models import padded_batch
from tests.tables import PIECES, cached
from trimformer import Gates, TrimformerError, trim
from trimformer.methods import METHODS
from trimformer.methods.structure.hard_concrete import LIMIT, keep_probability, sample, settled
from trimformer.training.loop import train


def fit(stage, tmp_path, **settings):
    method = make_method("hard-concrete", stage, **settings)
    train(method, stage.train, stage.training, stage.accelerator, tmp_path, seed=0, title="toy")
    return method


@pytest.mark.parametrize("logit", [-2.0, 0.0, 1.5])
def test_the_chance_not_to_be_zero(logit):
    torch.manual_seed(0)
    z = sample(torch.full((100_000,), logit))
    chance = keep_probability(torch.tensor(logit)).item()
    assert chance == pytest.approx(1 / (1 + math.exp(-logit + 2 / 3 * math.log(0.1 / 1.1))))
    error = 3 * (chance * (1 - chance) / len(z)) ** 0.5
    assert abs((z > 0).float().mean().item() - chance) <= error
    assert 0 <= z.min() <= z.max() <= 1
    assert (z == 1).any()


def test_a_sample_has_a_gradient_where_it_is_neither_0_nor_1():
    torch.manual_seed(0)
    logits = torch.zeros(1000, requires_grad=True)
    z = sample(logits)
    z.sum().backward()
    assert torch.equal(logits.grad > 0, (z > 0) & (z < 1))


def test_as_many_are_zero_in_the_end_as_are_expected_and_the_lowest():
    logits = torch.tensor([-LIMIT, 0.0, LIMIT, -LIMIT, LIMIT])
    gates = settled(logits, 0.0)
    zeros = round(5 - keep_probability(logits).sum().item())
    assert zeros == 2
    assert torch.equal(gates == 0, logits == -LIMIT)
    torch.testing.assert_close(gates[2].item(), torch.sigmoid(torch.tensor(0.8 * 1.5 * LIMIT)).item())


def test_units_of_large_blocks_stay_in_groups():
    logits = torch.linspace(-LIMIT, LIMIT, 300)
    expected = keep_probability(logits).sum().item()
    assert (settled(logits, 0.0) > 0).sum() == round(expected)
    assert (settled(logits, 0.0, grouped=True) > 0).sum() == 16 * round(expected / 16)
    assert (settled(logits[:100], 0.0, grouped=True) > 0).sum() == round(keep_probability(logits[:100]).sum().item())
    assert (settled(torch.full((300,), LIMIT), -50.0, grouped=True) > 0).all()  # 300 are no multiple


def test_the_multipliers_ascend(tmp_path):
    stage = context(epochs=1)
    method = make_method("hard-concrete", stage, target=0.5)
    method.step = stage.steps  # the whole way down to the target
    multipliers = method.networks["multipliers"].bare.values
    for batch in batches(stage, 1):
        values = method.micro_step(batch, 1.0)
        assert values["cost"] > 0.9
        method.update(1)
    assert (multipliers > 0).all()  # too expensive: the price rises


@pytest.mark.parametrize(
    ("cost", "parts", "target", "rounding"),
    [
        ("flops", ["attention", "heads", "blocks", "units", "hidden"], 0.6, 0.03),
        ("flops", ["units", "hidden"], 0.6, 0.03),
        ("params", ["units"], 0.8, 0.02),
    ],
    ids=str,
)
@pytest.mark.parametrize(("epochs", "distance"), [(4, 0.2), (12, 0.05)])
def test_the_budget_is_reached(tmp_path, cost, parts, target, rounding, epochs, distance):
    stage = context(layers=2, rows=160, epochs=epochs, learning_rate=1e-3)
    method = fit(stage, tmp_path, target=target, cost=cost, parts=parts)
    expected = method.cost.share(method.assemble(method.gates.probabilities())).item()
    assert expected == pytest.approx(target, abs=distance)
    gates = method.decide()
    trimmed = trim(method.model, gates).eval()
    batch = padded_batch(trimmed)
    with torch.no_grad():
        torch.testing.assert_close(
            trimmed(**batch).logits, method.model.eval()(**batch, gates=gates).logits, atol=1e-5, rtol=1e-4
        )
    (note,) = method.notes()
    assert float(note.split()[0]) == pytest.approx(target, abs=rounding)


def test_gates_without_chance_cost_what_is_aimed_at_wherever_they_have_got_to():
    method = make_method("hard-concrete", context(layers=6), target=0.7, parts=["units"])
    method.step = method.context.steps
    with torch.no_grad():
        for logits in method.gates.parameters():
            logits.copy_(torch.randn_like(logits))  # 0.7 to 0.8 of each tensor are expected to stay
    expected = method.cost.share(method.assemble(method.gates.probabilities())).item()
    assert abs(expected - 0.7) > 0.1
    assert float(method.notes()[0].split()[0]) == pytest.approx(0.7, abs=0.01)


MS = {"cost": "ms", "backend": "torch", "length": 8, "parts": ["attention", "heads", "blocks", "units"]}


@pytest.mark.parametrize(
    ("parts", "replace_by", "rounding"),
    [
        (["attention", "heads", "blocks", "units"], "mean", 0.1),  # few and large parts
        pytest.param(["attention", "heads", "blocks", "units"], "none", 0.1, marks=pytest.mark.slow),
        (["units"], "mean", 0.03),
    ],
    ids=str,
)
def test_the_budget_is_reached_in_milliseconds(tmp_path, monkeypatch, parts, replace_by, rounding):
    table = cached(monkeypatch, tmp_path)
    stage = context(layers=3, rows=160, epochs=12, learning_rate=1e-3)
    settings = MS | {"parts": parts, "replace_by": replace_by, "target": 0.75}
    method = fit(stage, tmp_path, **settings)
    expected = method.cost.share(method.assemble(method.gates.probabilities())).item()
    assert expected == pytest.approx(0.75, abs=0.03)
    rest = PIECES["rest"][0]
    trimmed = trim(method.model, method.decide())
    left = (table.predict(trimmed.config) - rest) / (table.predict(method.model.config) - rest)
    assert left == pytest.approx(0.75, abs=rounding)
    assert method.notes() == [
        f"{left:.3f} of the dense layers' milliseconds (torch, batch 1, 8 tokens) stay (target 0.75)."
    ]


@pytest.mark.parametrize("replace_by", ["mean", "none", "conv"])
def test_milliseconds_of_hard_gates_are_those_of_the_trimmed_model(tmp_path, monkeypatch, replace_by):
    table = cached(monkeypatch, tmp_path)
    method = make_method("hard-concrete", context(), target=0.9, replace_by=replace_by, **MS)
    assert method.cost(Gates()).item() == pytest.approx(table.predict(method.model.config) - PIECES["rest"][0])
    values = {
        "attention": [torch.tensor([1.0, 1.0, 0.0])],
        "heads": [torch.tensor([1.0, 0.0]), torch.ones(2), torch.ones(2)],
        "blocks": [torch.tensor([1.0, 0.0, 1.0])],
        "units": [torch.ones(24), torch.ones(24), torch.tensor([1.0] * 10 + [0.0] * 14)],
    }
    gates = method.assemble(values)
    left = table.predict(trim(method.model, gates).config) - PIECES["rest"][0]
    assert method.cost(gates).item() == pytest.approx(left)
    assert method.cost.share(gates).item() == pytest.approx(left / method.cost.dense.item())


def test_milliseconds_of_gates_that_the_table_does_not_know_are_refused(tmp_path, monkeypatch):
    cached(monkeypatch, tmp_path)
    method = make_method("hard-concrete", context(), target=0.9, **MS)
    for name in ("layers", "values", "query_key", "hidden"):
        with pytest.raises(TrimformerError, match=f"has no times for gates of {name}: count flops"):
            method.cost(Gates(**{name: [torch.ones(1)] * 3}))


def test_milliseconds_have_a_gradient_in_every_gate(tmp_path, monkeypatch):
    cached(monkeypatch, tmp_path)
    method = make_method("hard-concrete", context(), target=0.9, **MS)
    method.cost.share(method.assemble(method.gates.probabilities())).backward()
    for logits in method.gates.parameters():
        assert (logits.grad > 0).all()


def test_what_is_resumed_goes_on_with_the_times_that_it_began_with(tmp_path, monkeypatch):
    cached(monkeypatch, tmp_path / "first")
    method = make_method("hard-concrete", context(), target=0.9, **MS)
    file = io.BytesIO()
    torch.save(method.state_dict(), file)
    cached(monkeypatch, tmp_path / "second", pieces=PIECES | {"ffn": {8: 1.0, 24: 50.0}}, first=False)
    again = make_method("hard-concrete", context(), target=0.9, **MS)
    gates = method.assemble(method.gates.nothing())
    assert again.cost.share(gates) != method.cost.share(gates)
    file.seek(0)
    again.load_state_dict(torch.load(file, weights_only=True))
    assert again.cost.table == method.cost.table
    assert again.cost.share(gates) == method.cost.share(gates)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"parts": ["units", "hidden"]}, "does not know hidden dimensions: with cost ms leave hidden out of parts"),
        ({"backend": "eager"}, "Backend 'eager' cannot be timed here: use one of torch"),
        ({"backend": "tpu"}, "Backend 'tpu' cannot be timed here: use one of torch"),
        ({"length": 41}, "length: the model takes at most 40 tokens, not 41"),
    ],
)
def test_milliseconds_that_cannot_be_known(settings, said):
    with pytest.raises(TrimformerError, match=said):
        make_method("hard-concrete", context(), target=0.5, **MS | settings)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"positions": "by_segment", "split_layers": 1}, "Layers of this model see each text of a pair by itself"),
        ({"tokens": 3}, "Layers of this model hand on fewer tokens than they are given"),
    ],
    ids=["split", "fewer"],
)
def test_milliseconds_of_layers_that_see_less_are_refused_before_any_work(changes, said):
    config, settings = context().model.config, METHODS["hard-concrete"].Settings(target=0.5, **MS)
    shapes = [dataclasses.replace(shape, tokens=changes.pop("tokens", None)) for shape in config.shapes]
    config = type(config).from_dict(config.with_shapes(shapes).to_dict() | changes)
    with pytest.raises(TrimformerError, match=f"{said}.*: set cost to flops or params"):
        METHODS["hard-concrete"].check(settings, config)


def test_units_that_matter_stay(tmp_path):
    """Only the first units of the last block have output weights: the others are worth nothing."""
    stage = context(layers=1, rows=240, epochs=12, learning_rate=1e-4)
    layer = stage.model.encoder.layers[0]
    with torch.no_grad():
        layer.ffn_out.weight[:, 6:] = 0
        layer.ffn_out.weight[:, :6] *= 3
    method = make_method("hard-concrete", stage, target=0.75, parts=["units"], gate_learning_rate=0.1)
    for network in ("model",):  # the weights stay as they are
        method.networks[network].step = lambda: None
    train(method, stage.train, stage.training, stage.accelerator, tmp_path, seed=0, title="toy")
    logits = method.gates.logits["units"][0].detach()
    assert logits[:6].min() > logits[6:].max()


def test_a_target_out_of_reach_is_refused():
    with pytest.raises(TrimformerError, match=r"A target of 0.1 is out of reach: without any of units 0\.\d+"):
        make_method("hard-concrete", context(), target=0.1, parts=["units"])


@pytest.mark.parametrize(
    ("family", "parts", "match"),
    [
        ("deberta-v2", ["hidden"], "cannot lose hidden"),
        ("albert", ["units"], "share"),
    ],
)
def test_what_an_encoder_cannot_lose(family, parts, match):
    with pytest.raises(TrimformerError, match=match):
        make_method("hard-concrete", context(family=family), target=0.5, parts=parts)
