"""The method sparse: which layers get which pattern, what it says, and other methods after it."""

from pathlib import Path

import pytest
import torch

from tests.learning import batches, context, make_method
from tests.models import tiny
from trimformer import TrimformerError, trim
from trimformer.methods import METHODS
from trimformer.recipe.reading import load_recipe, parse

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
STAR = {"name": "star"}


def kinds(config):
    return [shape.attention for shape in config.shapes]


@pytest.mark.parametrize(("layers", "left"), [(None, ["sparse", "mean", "sparse"]), ([2], ["full", "mean", "sparse"])])
def test_the_chosen_layers_get_the_pattern_or_all_that_attend(layers, left):
    stage = context(attention={1: "mean"})
    method = make_method("sparse", stage, pattern=STAR, layers=layers)
    foreseen = METHODS["sparse"].after(method.settings, stage.model.config)
    model = method.result().model
    assert kinds(model.config) == kinds(foreseen) == left
    assert model.config.shapes == foreseen.shapes
    assert model.config.shapes[2].own == {"pattern": STAR}
    for name, weight in stage.model.state_dict().items():
        assert torch.equal(model.state_dict()[name], weight)


def test_it_says_how_sparse_it_is_and_when_this_saves_something():
    (note,) = make_method("sparse", context(), pattern=STAR).notes()
    assert "The pattern star is in the layers 0, 1, 2" in note
    sparsity = 1 - (3 * 40 - 2 + 2 * 38) / 40**2  # the band and what first row and column add to it
    assert f"{sparsity:.1%} at 40 tokens" in note
    assert "Texts of at least 170 tokens are computed by blocks." in note
    (note,) = make_method("sparse", context(), pattern={"name": "logsparse"}).notes()
    assert note.endswith("All scores are computed and then masked, which saves no time.")


def test_some_layers_become_sparse_and_then_others_a_mean():
    stage = context(attention={index: {"kind": "sparse", "pattern": STAR} for index in range(3)})
    for name, settings in {"attendout": {"keep_layers": 1, "finalists": 2}, "last-k": {"keep_layers": 1}}.items():
        method = make_method(name, stage, **settings)
        for step, batch in enumerate(batches(stage, 2) if method.trains else [], start=1):
            assert all(torch.isfinite(torch.tensor(value)) for value in method.micro_step(batch, 1.0).values())
            method.update(step)
        gates = method.decide()
        model, batch = trim(method.model, gates).eval(), batches(stage, 1)[0]
        assert sorted(kinds(model.config)) == ["mean", "mean", "sparse"]
        del batch["labels"]
        with torch.no_grad():
            torch.testing.assert_close(model(**batch).logits, method.model.eval()(**batch, gates=gates).logits)


def test_a_sparse_layer_learns():
    stage = context(attention={1: {"kind": "sparse", "pattern": {"name": "no-diagonal"}}})
    method = make_method("finetune", stage)
    before = method.model.encoder.layers[1].attention.query.weight.clone()
    method.micro_step(batches(stage, 1)[0], 1.0)
    method.update(1)
    assert not torch.equal(method.model.encoder.layers[1].attention.query.weight, before)


def test_mistakes_are_found_before_any_training():
    settings = METHODS["sparse"].Settings
    with pytest.raises(TrimformerError, match="There is no layer 5: the layers of this encoder are 0 to 2"):
        METHODS["sparse"].after(settings(layers=[5]), tiny().config)
    means = trim(tiny(), attention=dict.fromkeys(range(3), "mean")).config
    with pytest.raises(TrimformerError, match="No layer of this encoder attends"):
        METHODS["sparse"].after(settings(), means)
    with pytest.raises(TrimformerError, match="Layer 0 is 'mean' and does not have the weights"):
        METHODS["sparse"].after(settings(layers=[0]), means)
    offsets = {"name": "offsets", "offsets": [[0]]}
    with pytest.raises(TrimformerError, match="Layer 0 cannot become 'sparse': The layer has 2 heads, but its pattern"):
        METHODS["sparse"].after(settings(pattern=offsets), tiny().config)
    far = {"name": "offsets", "offsets": [[40], [0]]}
    with pytest.raises(TrimformerError, match="a text has at most 40 tokens"):
        METHODS["sparse"].after(settings(pattern=far), tiny().config)
    stage = {"name": "s", "method": {"name": "sparse", "pattern": {"name": "windw"}}}
    with pytest.raises(TrimformerError, match="Unknown pattern of attention 'windw': did you mean 'window'"):
        parse({"model": "m", "task": {"name": "sst2"}, "out": "o", "stages": [stage]}, "x")


def test_the_recipe():
    recipe = load_recipe(RECIPES / "sparse.yaml")
    assert recipe.stages[0].method.pattern == {"name": "longformer", "window": 128, "first": 1}
    assert recipe.stages[0].method.label == "sparse (longformer)"
    assert METHODS["sparse"].after(recipe.stages[0].method, tiny().config).shapes[0].attention == "sparse"
