"""What a layer without attention becomes: searched with what it ends with, by every method that removes."""

import pytest
import torch

from tests.learning import batches, context, make_method
from trimformer import trim

CASES = [
    (name, stand_in)
    for name in ("last-k", "random-k", "attendout", "attendout-faithful", "greedy", "importance")
    for stand_in in ("mean", "none", "conv")
    if (name, stand_in) != ("attendout-faithful", "none")
]
QUICK = {"attendout-faithful": {"pruning_step": 1}, "greedy": {"ramp": 0.01}}


@pytest.mark.parametrize(("name", "stand_in"), CASES)
def test_the_decision_trims_to_it_and_the_law_holds(name, stand_in):
    stage = context()
    method = make_method(name, stage, keep_layers=1, replace_by=stand_in, **QUICK.get(name, {}))
    if method.trains:
        method.micro_step(batches(stage, 1)[0], 1.0)
        method.update(1)
    gates = method.decide()
    model = trim(method.model, gates).eval()
    assert sorted(shape.attention for shape in model.config.shapes) == sorted(["full", stand_in, stand_in])
    batch = batches(stage, 1)[0]
    del batch["labels"]
    with torch.no_grad():
        torch.testing.assert_close(model(**batch).logits, method.model.eval()(**batch, gates=gates).logits)


@pytest.mark.parametrize("stand_in", ["mean", "none"])
@pytest.mark.parametrize("name", ["attendout", "greedy"])
def test_the_search_trains_and_scores_with_it(name, stand_in):
    stage = context()
    method = make_method(name, stage, keep_layers=1, replace_by=stand_in, **QUICK.get(name, {}))
    seen = []
    method.model.register_forward_pre_hook(lambda _, args, inputs: seen.append(inputs["gates"]), with_kwargs=True)
    method.micro_step(batches(stage, 1)[0], 1.0)
    trained = len(seen)
    method.update(1)
    scored = len(seen)
    method.decide()
    assert 0 < trained < scored
    assert (scored < len(seen)) == (name == "attendout")  # which compares its finalists in the end
    assert {gates.removed for gates in seen} == {stand_in}
