"""Layers that share weights: trained, saved, counted and exported once, whatever their attention kinds."""

import copy
import math

import onnx
import pytest
import torch
from safetensors.torch import load_file

from tests.encoder.test_convert import answers, stock
from tests.models import padded_batch, tiny
from trimformer import TrimformerError, cost, export, load, to_huggingface, trim
from trimformer.encoder.checkpoints.families.albert import ALBERT
from trimformer.encoder.model.heads import TrimformerForSequenceClassification

REMOVED = pytest.mark.parametrize("removed", [(), (0,), (0, 2), (0, 1, 2)])


@REMOVED
def test_weights_are_there_once_in_memory_and_in_the_file(tmp_path, removed):
    model = trim(tiny(family="albert"), attention=dict.fromkeys(removed, "mean"))
    layers = model.encoder.layers
    assert layers[0].attention.value is layers[2].attention.value
    one = tiny(layers=1, family="albert")
    if len(removed) == 3:
        one = trim(one, attention={0: "mean"})
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in one.parameters()) == cost(model).params
    model.save_pretrained(tmp_path)
    assert sum(w.numel() for w in load_file(tmp_path / "model.safetensors").values()) == cost(model).params


@REMOVED
@pytest.mark.parametrize("loader", [load, TrimformerForSequenceClassification.from_pretrained])
def test_loaded_and_copied_models_still_share(tmp_path, removed, loader):
    model = trim(tiny(family="albert"), attention=dict.fromkeys(removed, "mean"))
    model.save_pretrained(tmp_path)
    loaded, filled = loader(tmp_path), type(model)(model.config)
    filled.load_state_dict(model.state_dict())
    for other in (loaded, filled, copy.deepcopy(model), model.double().float()):
        assert other.encoder.layers[0].ffn_in.weight is other.encoder.layers[2].ffn_in.weight
        assert len(list(other.parameters())) == len(list(model.parameters()))
        for name, weight in model.state_dict().items():
            assert torch.equal(other.state_dict()[name], weight)


def test_a_training_step_changes_all_layers_of_a_group_alike():
    model = trim(tiny(family="albert"), attention={0: "mean"})
    before = model.encoder.layers[1].attention.query.weight.clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(**padded_batch(model), labels=torch.tensor([0, 1, 2, 0])).loss.backward()
    optimizer.step()
    layers = model.encoder.layers
    assert not torch.equal(layers[1].attention.query.weight, before)
    assert layers[1].attention.query.weight is layers[2].attention.query.weight
    model.encoder.tie_weights()
    assert layers[0].attention.output.weight is layers[1].attention.output.weight


def test_groups_of_layers(tmp_path):
    reference = stock("albert", None, num_hidden_layers=5, num_hidden_groups=2)
    reference.save_pretrained(tmp_path)
    model = load(tmp_path)
    assert model.config.sharing == [0, 0, 0, 3, 3]
    batch = padded_batch(model)
    torch.testing.assert_close(answers(model, batch), answers(reference, batch), atol=1e-5, rtol=0)
    back = to_huggingface(model)
    assert back.config.num_hidden_groups == 2
    torch.testing.assert_close(answers(back, batch), answers(reference, batch), atol=1e-5, rtol=0)


def test_the_exported_file_holds_shared_weights_once(tmp_path):
    model = tiny(family="albert")
    file = export(model, tmp_path, precision=["fp32"])[0]
    held = sum(math.prod(weight.dims) for weight in onnx.load(str(file.path)).graph.initializer)
    projections = 3 * (16 * 16 + 16)  # the last layer, of which only the first token is read, has its own
    assert held < cost(model).params + projections + 50  # a few shapes and constants


def test_what_cannot_be_shared_is_refused():
    with pytest.raises(TrimformerError, match="inner_group_num 2"):
        ALBERT.to_config(stock("albert", None, inner_group_num=2).config)
    for sharing in ([0, 0], [0, 2, 2], [0, 0, 1]):
        with pytest.raises(TrimformerError, match="first layer of its group"):
            tiny(family="albert", sharing=sharing)
