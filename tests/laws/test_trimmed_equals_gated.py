"""Law: trim(model, gates)(x) == model(x, gates=gates) for every hard gate, with padding and batch > 1."""

import itertools

import pytest
import torch

from tests.models import FAMILY_NAMES, hard_gates, padded_batch, tiny, trained
from trimformer import Gates, TrimformerError, trim

SETS = [set(chosen) for count in range(4) for chosen in itertools.combinations(range(3), count)]


@pytest.mark.parametrize("family", FAMILY_NAMES)
@pytest.mark.parametrize("kind", ["attention", "positions"])
@pytest.mark.parametrize("removed", SETS, ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-10)])
def test_trimmed_equals_gated(family, kind, removed, dtype, tolerance):
    # In fp32 larger weights magnify the rounding, which differs from processor to processor.
    model = tiny(family=family, initializer_range=0.3 if dtype == torch.float64 else 0.15).to(dtype)
    batch = padded_batch(model)
    gates = hard_gates(kind, 3, 4, 9, removed)
    trimmed = trim(model, gates)
    assert [shape.attention for shape in trimmed.config.shapes] == [
        "mean" if index in removed else "full" for index in range(3)
    ]
    with torch.no_grad():
        expected = model(**batch, gates=gates).logits
        difference = trimmed(**batch).logits - expected
    assert difference.abs().max() <= tolerance * max(1, expected.abs().max())


AFTER = {  # what is left of a layer of each kind
    "mean": {"full": "mean", "conv": "mean", "mean": "mean", "none": "none"},
    "none": {"full": "none", "conv": "none", "mean": "none", "none": "none"},
    "conv": {"full": "conv", "conv": "conv", "mean": "mean", "none": "none"},
}


@pytest.mark.parametrize("family", FAMILY_NAMES)
@pytest.mark.parametrize("stand_in", AFTER)
@pytest.mark.parametrize("start", [{}, {0: "conv"}, {0: "mean", 1: "none"}, {1: "none", 2: "conv"}], ids=str)
def test_trimmed_equals_gated_whatever_stands_in(family, stand_in, start):
    model = trained(trim(tiny(family=family).double(), attention=start))
    kinds = [shape.attention for shape in model.config.shapes]
    batch = padded_batch(model)
    for removed in SETS:
        gates = hard_gates("attention", 3, 4, 9, removed, stand_in)
        expected = [AFTER[stand_in][kind] if index in removed else kind for index, kind in enumerate(kinds)]
        if model.config.sharing and "conv" in kinds and kinds.count("conv") < expected.count("conv"):
            with pytest.raises(TrimformerError, match="at one time"):
                trim(model, gates)
            continue
        trimmed = trim(model, gates)
        assert [shape.attention for shape in trimmed.config.shapes] == expected
        with torch.no_grad():
            difference = trimmed(**batch).logits - model(**batch, gates=gates).logits
        assert difference.abs().max() <= 1e-10


@pytest.mark.parametrize("kind", ["attention", "positions"])
def test_gates_that_keep_all_change_nothing(kind):
    model = tiny()
    batch = padded_batch(model)
    with torch.no_grad():
        plain = model(**batch).logits
        gated = model(**batch, gates=hard_gates(kind, 3, 4, 9, set())).logits
    torch.testing.assert_close(gated, plain, atol=1e-6, rtol=0)


def test_a_soft_attention_gate_interpolates_and_its_ends_are_the_hard_gates():
    model = tiny(layers=1).double()
    batch = padded_batch(model)
    attention = model.encoder.layers[0].attention
    seen = {}
    hook = attention.register_forward_hook(lambda *args: seen.update(out=args[2]))
    outputs = {}
    for value in (0.0, 0.25, 1.0):
        gate = torch.tensor([value], dtype=torch.double, requires_grad=True)
        model(**batch, gates=Gates(attention=gate))
        outputs[value] = seen["out"].detach()
    hook.remove()
    torch.testing.assert_close(outputs[0.25], 0.25 * outputs[1.0] + 0.75 * outputs[0.0])
    with torch.no_grad():
        model(**batch)
        gate = torch.tensor([0.25], dtype=torch.double, requires_grad=True)
        nothing = attention(*_inputs(model, batch), Gates(attention=gate, removed="none").layer(0))
    torch.testing.assert_close(nothing, 0.25 * outputs[1.0])
    torch.testing.assert_close(outputs[1.0], attention.mix(*_inputs(model, batch), None).detach())


def _inputs(model, batch):
    from trimformer.encoder.parts.tokens import Tokens

    x = model.encoder.embeddings(batch["input_ids"], batch["token_type_ids"])
    return x, Tokens(x, batch["attention_mask"]).ask(first=1)
