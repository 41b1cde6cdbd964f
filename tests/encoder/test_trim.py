"""What trim refuses, and what it leaves alone."""

import pytest
import torch

from tests.models import padded_batch, tiny, trained
from trimformer import Gates, LayerShape, TrimformerError, trim
from trimformer.encoder.gating.trim import parse_attention
from trimformer.encoder.parts.attention.base import with_heads


def test_the_model_given_is_left_as_it_was():
    model = tiny()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    trimmed = trim(model, attention={0: "mean"})
    trimmed.head.output.weight.data.zero_()
    assert all(torch.equal(before[name], weight) for name, weight in model.state_dict().items())
    assert not hasattr(trimmed.encoder.layers[0].attention, "query")


def test_soft_gates_and_partly_removed_positions_are_refused():
    with pytest.raises(TrimformerError, match="hard"):
        trim(tiny(), Gates(attention=torch.tensor([1.0, 0.5, 0.0])))
    positions = torch.ones(3, 1, 1, 4, 4, dtype=torch.bool)
    positions[1, 0, 0, 2, 3] = False
    with pytest.raises(TrimformerError, match="layer 1 are removed only in part"):
        trim(tiny(), Gates(positions=positions))


def test_what_is_gone_cannot_come_back_and_layers_must_exist():
    for before, after in [("mean", "full"), ("conv", "full"), ("none", "full"), ("none", "mean"), ("none", "conv")]:
        with pytest.raises(TrimformerError, match=f"Layer 1 is '{before}' and .* become '{after}' again"):
            trim(trim(tiny(), attention={1: before}), attention={1: after})
    with pytest.raises(TrimformerError, match="numbered 0 to 2"):
        trim(tiny(), attention={3: "mean"})
    with pytest.raises(TrimformerError, match="either gates or attention"):
        trim(tiny())
    with pytest.raises(TrimformerError, match="Unknown attention kind 'lean'"):
        trim(tiny(), attention={1: "lean"})


def test_kernels():
    assert [shape.kernel for shape in trim(tiny(), attention={0: "conv", 2: "conv7"}).config.shapes] == [5, 0, 7]
    for kernel in (1, 4, 11):
        with pytest.raises(TrimformerError, match="kernel of 3, 5, 7, 9"):
            trim(tiny(), attention={1: f"conv{kernel}"})
    with pytest.raises(TrimformerError, match="has a kernel of 5: it cannot get one of 7"):
        trim(trim(tiny(), attention={1: "conv"}), attention={1: "conv7"})
    with pytest.raises(TrimformerError, match=r"kind mean take no kernel, got .*: set kernel to 0"):
        LayerShape("mean", 2, 8, 24, kernel=3)


def test_a_new_convolution_starts_as_the_mean_and_a_trained_one_stays():
    batch = padded_batch(tiny())
    with torch.no_grad():
        new, mean = (trim(tiny(), attention={0: kind, 1: "mean"})(**batch).logits for kind in ("conv", "mean"))
        assert torch.equal(new, mean)
        model = trained(trim(tiny(), attention={0: "conv"}))
        kept = trim(model, attention={0: "conv", 2: "none"})
    assert torch.equal(kept.encoder.layers[0].attention.conv.weight, model.encoder.layers[0].attention.conv.weight)


def test_layers_that_share_weights_share_their_convolution():
    model = trained(trim(tiny(family="albert"), attention={0: "conv", 2: "conv"}))
    layers = model.encoder.layers
    assert layers[0].attention.conv is layers[2].attention.conv
    with pytest.raises(TrimformerError, match=r"Layer 1 shares its weights with layers that are 'conv' already"):
        trim(model, attention={1: "conv"})
    with pytest.raises(TrimformerError, match="the same kernel"):
        trim(tiny(family="albert"), attention={0: "conv3", 2: "conv5"})


def test_layer_lists():
    assert parse_attention("0=mean, 2-4=none") == {0: "mean", 2: "none", 3: "none", 4: "none"}
    assert parse_attention("1=conv,3=conv9") == {1: "conv", 3: "conv9"}
    for bad in ("", "1", "1=none!", "a=mean", "3-1=mean", "1=mean5", "1=convolution"):
        with pytest.raises(TrimformerError):
            parse_attention(bad)


def test_gates_must_be_for_every_layer():
    with pytest.raises(TrimformerError, match="gates for 1 layers, but the model has 3"):
        trim(tiny(), Gates(attention=torch.zeros(1)))


def test_positions_of_a_layer_that_is_gated_off_say_nothing():
    positions = torch.ones(3, 1, 1, 4, 4, dtype=torch.bool)
    positions[0, 0, 0, 1, 2] = False
    trimmed = trim(tiny(), Gates(attention=torch.tensor([0.0, 1.0, 1.0]), positions=positions))
    assert [shape.attention for shape in trimmed.config.shapes] == ["mean", "full", "full"]


def test_a_shape_with_fewer_heads_keeps_what_its_kind_has_of_its_own_for_these():
    assert with_heads(LayerShape("full", 3, 8, 24, own={"bias_columns": [0, 2, 5]}), 2).own == {"bias_columns": [0, 2]}
    assert with_heads(LayerShape("mean", 3, 8, 24), 1) == LayerShape("mean", 1, 8, 24)
