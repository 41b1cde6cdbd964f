"""Repair: what is left of a block is fitted in closed form to what the dense block gives."""

import copy
import dataclasses

import pytest
import torch

from tests.learning import context, make_method, toy_data
from tests.models import FAMILY_NAMES, points_of, random_gates, tiny, with_layers
from trimformer import TrimformerError, trim
from trimformer.encoder.shape.kinds import stand_ins
from trimformer.methods import METHODS
from trimformer.methods.weights.least_squares import LeastSquares
from trimformer.methods.weights.repair import repair, seen

FITTED_STAND_INS = [kind for kind in stand_ins() if kind != "none"]  # nothing is left of that to be fitted
ALONE = [family for family in FAMILY_NAMES if tiny(family=family).config.sharing is None]
DATA = toy_data(64)


def batches(size: int = 16) -> list:
    return [DATA.batch(range(start, start + size)) for start in range(0, len(DATA), size)]


def given(model) -> torch.Tensor:
    with torch.no_grad():
        return torch.cat([model(b["input_ids"], b["attention_mask"]).logits for b in batches()])


def test_the_sums_give_what_least_squares_over_all_rows_gives():
    torch.manual_seed(0)
    rows, missing = torch.randn(40, 5, dtype=torch.double), torch.randn(40, 3, dtype=torch.double)
    sums = LeastSquares(5, 3, bias=True)
    for part in range(0, 40, 8):
        sums.add(rows[part : part + 8], missing[part : part + 8])
    change, shift = sums.solve(0.1)
    weight = 0.1 * (rows**2).sum(0).mean()
    # The penalty as further rows: √λ of one input each, of which nothing is missing.
    wide = torch.cat([torch.cat([rows, torch.ones(40, 1).double()], 1), (weight.sqrt() * torch.eye(5, 6)).double()])
    expected = torch.linalg.lstsq(wide, torch.cat([missing, torch.zeros(5, 3).double()])).solution
    torch.testing.assert_close(torch.cat([change.T, shift[None]]), expected)


def test_nothing_missing_gives_exactly_nothing():
    sums = LeastSquares(4, 2, bias=True)
    sums.add(torch.randn(9, 4), torch.zeros(9, 2))
    change, shift = sums.solve(0.01)
    assert not change.any()
    assert not shift.any()


@pytest.mark.parametrize("family", ALONE)
def test_what_is_whole_stays_as_it_is(family):
    model = tiny(family=family)
    fitted = copy.deepcopy(model)
    assert repair(fitted.encoder, model.encoder, batches(), 0.01) == []
    weights = model.state_dict()
    assert all(torch.equal(weights[name], weight) for name, weight in fitted.state_dict().items())


@pytest.mark.parametrize("family", ALONE)
def test_last_maps_that_were_lost_are_found_again(family):
    """Of full, mean and conv attention and of the feed-forward block; two thin maps in the place of one, too."""
    kinds = {"bert": {1: "mean", 2: "conv"}}.get(family, {1: "mean"})
    model = trim(tiny(family=family).double(), attention=kinds)
    lost = copy.deepcopy(model)
    with torch.no_grad():
        for layer in lost.encoder.layers[:2]:
            layer.attention.output.weight.mul_(0.5)
        lost.encoder.layers[1].ffn_out.weight.zero_()
    assert (given(lost) - given(model)).abs().max() > 0.1
    assert repair(lost.encoder, model.encoder, batches(), 1e-12) == ["attention 0", "attention 1", "ffn 1"]
    torch.testing.assert_close(given(lost), given(model), atol=1e-4, rtol=0)


@pytest.mark.parametrize("family", ALONE)
@pytest.mark.parametrize("removed", [*FITTED_STAND_INS, "heads", "values", "query_key", "ffn"])
def test_a_block_comes_nearer_to_the_dense_one(family, removed):
    """What stands in for attention, and parts that are gone: in the last layer, whose inputs stay the same."""
    dense = tiny(2, family=family).double()
    if removed in FITTED_STAND_INS:
        smaller = trim(dense, attention={1: removed})
    elif removed in points_of(dense):
        gates = random_gates(dense, [removed], seed=1)
        getattr(gates, removed)[0][:] = 1
        smaller = trim(dense, gates)
    else:
        pytest.skip(f"{family} cannot lose {removed}")
    block = "ffn" if removed == "ffn" else "attention"
    fitted = copy.deepcopy(smaller)
    assert repair(fitted.encoder, dense.encoder, batches(), 1e-3) == [f"{block} 1"]
    wanted, before, after = (answers(model, block) for model in (dense, smaller, fitted))
    assert (after - wanted).square().mean() < (before - wanted).square().mean()


def answers(model, block) -> torch.Tensor:
    """What a block of the last layer gives, for real tokens."""
    layer, found = model.encoder.layers[-1], []
    module = layer.attention if block == "attention" else layer.ffn_out
    with torch.no_grad(), seen(module, 1) as gave:
        for batch in batches():
            model.encoder(batch["input_ids"], batch["attention_mask"])
    for batch, one in zip(batches(), gave, strict=True):
        mask = batch["attention_mask"].bool()
        found.append(one.detach().expand(*mask.shape, -1)[mask])
    return torch.cat(found)


def test_a_bias_becomes_the_mean_of_what_attention_gave():
    dense = tiny(1).double()
    left = trim(dense, attention={0: "bias"})
    assert repair(left.encoder, dense.encoder, batches(), 0.01) == ["attention 0"]
    expected = answers(dense, "attention").mean(0)
    torch.testing.assert_close(left.encoder.layers[0].attention.output.bias.detach(), expected)


def test_thin_maps_are_fitted_too():
    dense = tiny(1).double()
    thin = dataclasses.replace(dense.config.shapes[0], maps={"ffn_out": {"kind": "low-rank", "rank": 3}})
    model = type(dense)(dense.config.with_shapes([thin])).double().eval()
    weights = dense.state_dict()
    model.load_state_dict({name: weights.get(name, weight) for name, weight in model.state_dict().items()})
    wanted, before = answers(dense, "ffn"), answers(model, "ffn")
    assert repair(model.encoder, dense.encoder, batches(), 1e-6) == ["ffn 0"]
    assert (answers(model, "ffn") - wanted).square().mean() < 0.9 * (before - wanted).square().mean()


def test_batches_do_not_matter():
    dense = tiny().double()
    found = []
    for size in (4, 32):
        model = trim(dense, attention={1: "mean"})
        repair(model.encoder, dense.encoder, batches(size), 0.01)
        found.append(model.encoder.layers[1].attention.output.weight.detach())
    torch.testing.assert_close(*found)


def test_as_a_stage():
    stage = context(objective={"logits": 1.0}, attention={2: "mean"}, teacher={})
    result = make_method("repair", stage, rows=20).result()
    (note,) = result.notes
    assert note == "The last maps of attention 2 were fitted to the dense model on 20 texts, without labels."
    before, after = stage.model.encoder.layers[2].attention, result.model.encoder.layers[2].attention
    assert not torch.equal(before.output.weight, after.output.weight)
    assert torch.equal(before.value.weight, after.value.weight)


def test_the_texts_are_drawn_with_the_seed_alone():
    """And their labels are not read: others give the same maps."""
    found = []
    for rows in (20, 20, 21):
        stage = context(objective={"logits": 1.0}, attention={2: "mean"}, teacher={})
        stage.train.labels[:] = len(found)
        torch.manual_seed(len(found))
        found.append(METHODS["repair"](METHODS["repair"].Settings(rows=rows), stage).result().model.state_dict())
    assert all(torch.equal(weight, found[1][name]) for name, weight in found[0].items())
    assert not all(torch.equal(weight, found[2][name]) for name, weight in found[0].items())


@pytest.mark.parametrize(
    ("config", "same", "said"),
    [
        (tiny(2).config, True, "another number of layers than the dense one"),
        (tiny(3).config, False, "another tokenizer than the dense one"),
        (tiny(3, family="albert").config, True, "share their weights"),
        (with_layers("bilstm").config, True, "layers of another kind than the dense one and layers without attention"),
    ],
)
def test_what_cannot_be_fitted(config, same, said):
    with pytest.raises(TrimformerError, match=said):
        METHODS["repair"].check_beside(config, tiny(3).config, same)


def test_zeros_that_were_set_stay():
    dense = tiny(1).double()
    model = copy.deepcopy(dense)
    weight = model.encoder.layers[0].ffn_out.weight
    with torch.no_grad():
        weight[:, ::2][weight[:, ::2].abs() < 0.3] = 0
    before = weight.detach().clone()
    wanted, first = answers(dense, "ffn"), answers(model, "ffn")
    assert repair(model.encoder, dense.encoder, batches(), 0.01) == ["ffn 0"]  # its bias
    assert torch.equal(weight, before)
    assert (answers(model, "ffn") - wanted).square().mean() < (first - wanted).square().mean()
