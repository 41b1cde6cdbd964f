"""The dimensions that queries, keys and values read: how a shape writes them down, what is refused."""

import pytest
import torch

from tests.models import padded_batch, random_gates, tiny
from trimformer import Gates, LayerShape, TrimformerConfig, TrimformerError, cost, trim
from trimformer.encoder.shape.ranges import from_ranges, to_ranges
from trimformer.measure.cost import expected_flops, expected_params


@pytest.mark.parametrize(("numbers", "text"), [((0,), "0"), ((0, 1, 2, 6), "0-2,6"), ((3, 5, 6), "3,5-6")])
def test_numbers_as_ranges(numbers, text):
    assert to_ranges(numbers) == text
    assert from_ranges(text) == numbers


@pytest.mark.parametrize("text", ["", "a", "3,1", "1,1", "4-2", "0-3,2", "0 - 3"])
def test_ranges_that_are_none(text):
    with pytest.raises(TrimformerError, match="dimensions"):
        LayerShape("full", 2, 8, 24, inputs=text)


def test_dimensions_that_the_encoder_does_not_have():
    with pytest.raises(TrimformerError, match="Layer 0 reads the dimensions 0,16, but there are 16"):
        TrimformerConfig(hidden_size=16, layers=[LayerShape("full", 2, 8, 24, inputs="0,16").to_dict()])


def test_the_weights_have_the_columns_that_are_left_and_who_reads_all_names_none():
    model = tiny()
    reads = [torch.arange(16) % 2, torch.ones(16), (torch.arange(16) < 4).float()]
    smaller = trim(model, Gates(inputs=reads))
    assert [shape.inputs for shape in smaller.config.shapes] == ["1,3,5,7,9,11,13,15", None, "0-3"]
    for name in ("query", "key", "value"):
        kept = getattr(smaller.encoder.layers[0].attention, name).weight
        assert torch.equal(kept, getattr(model.encoder.layers[0].attention, name).weight[:, 1::2])
    assert "inputs" not in smaller.config.layers[1]
    assert (tiny().config.format_version, smaller.config.format_version) == (1, 2)


def test_deberta_cannot_lose_them_and_says_so():
    with pytest.raises(TrimformerError, match="Layer 0 cannot lose dimensions of its input: the weights that read"):
        trim(tiny(family="deberta-v2"), Gates(inputs=torch.eye(16)[0].expand(3, 16)))


def test_expected_costs_of_inputs_and_hidden_dimensions_together_are_those_of_the_trimmed_model():
    model = tiny()
    for seed in range(3):
        gates = random_gates(model, ["inputs", "hidden", "ffn"], seed, keep=0.8)
        trimmed = trim(model, gates)
        again = random_gates(trimmed, ["inputs", "hidden"], seed + 10, keep=0.8)
        for one, given in ((model, gates), (trimmed, again)):
            layers = cost(trim(one, given).encoder, 12).layers
            assert expected_flops(one.config, 12, given).item() == sum(layer.flops for layer in layers)
            assert expected_params(one.config, given).item() == sum(layer.params for layer in layers)


def test_a_table_of_the_device_knows_what_fewer_dimensions_save():
    from tests.tables import PIECES, table

    known = table(first=False, pieces=PIECES | {"full/8 inputs": {4: 3.0, 8: 4.0, 16: 5.0}})
    shape = LayerShape("full", 2, 8, 8)
    less = LayerShape("full", 2, 8, 8, inputs="0-7")
    assert known.predict([shape]) == 1 + 2 + 6
    assert known.predict([less]) == 1 + 2 + 6 - (6 - 4)
    soft = known.expected([shape], inputs=torch.tensor([6.0]), heads=torch.tensor([1.0]))
    assert soft.item() == pytest.approx(1 + 2 + 4 - (6 - 3.5) / 2)
    assert known.expected([shape], inputs=torch.tensor([16.0])).item() == known.predict([shape])


def test_gates_shared_by_all_layers():
    model, one = tiny().double(), (torch.arange(16) % 3 > 0).double()
    gates = Gates(inputs=[one] * 3)
    with torch.no_grad():
        wanted = model(**padded_batch(model), gates=gates).logits
        torch.testing.assert_close(trim(model, gates)(**padded_batch(model)).logits, wanted, atol=1e-10, rtol=0)
