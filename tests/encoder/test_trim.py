"""What trim refuses, and what it leaves alone."""

import pytest
import torch

from tests.models import tiny
from trimformer import Gates, TrimformerError, trim
from trimformer.encoder.trim import parse_attention


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
    with pytest.raises(TrimformerError, match="cannot become 'full' again"):
        trim(trim(tiny(), attention={1: "mean"}), attention={1: "full"})
    with pytest.raises(TrimformerError, match="numbered 0 to 2"):
        trim(tiny(), attention={3: "mean"})
    with pytest.raises(TrimformerError, match="either gates or attention"):
        trim(tiny())
    with pytest.raises(TrimformerError, match="Unknown attention kind 'conv'"):
        trim(tiny(), attention={1: "conv"})


def test_layer_lists():
    assert parse_attention("0=mean, 2-4=mean") == {0: "mean", 2: "mean", 3: "mean", 4: "mean"}
    for bad in ("", "1", "1=none!", "a=mean", "3-1=mean"):
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
