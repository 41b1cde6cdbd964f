"""The laws for the head that gives a vector for a text, in every family and with every pooling."""

import pytest
import torch
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.models import FAMILY_NAMES, hard_gates, padded_batch, points_of, random_gates, tiny, trained
from trimformer import TrimformerForEmbedding, cost, export, load, trim
from trimformer.encoder.shape.embedding import POOLINGS
from trimformer.inference.runtimes.onnx import OnnxSession

DENSE = [{"size": 12, "bias": True, "activation": "Tanh"}, {"size": 7, "bias": False, "activation": "Identity"}]


def embedder(pooling="mean", dense=(), normalize=True, **others):
    model = tiny(embedding={"pooling": pooling, "dense": list(dense), "normalize": normalize}, **others)
    torch.manual_seed(1)
    made = TrimformerForEmbedding(model.config).eval()
    made.encoder.load_state_dict(model.encoder.state_dict())
    return made


@pytest.mark.parametrize("family", FAMILY_NAMES)
@pytest.mark.parametrize("dense", [(), DENSE], ids=["bare", "dense"])
def test_trimmed_equals_gated_whatever_is_removed(family, dense):
    model = embedder(dense=dense, family=family).double()
    batch = padded_batch(model)
    for gates in (random_gates(model, points_of(model)), hard_gates("attention", 3, 4, 9, {0, 2})):
        smaller = trim(model, gates)
        with torch.no_grad():
            ours, wanted = smaller(**batch).logits, model(**batch, gates=gates).logits
        torch.testing.assert_close(ours, wanted, atol=1e-10, rtol=0)
        assert ours.shape[1] == (7 if dense else 16)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_more_padding_changes_no_vector_and_trimmed_equals_gated(pooling):
    model = trained(trim(embedder(pooling, normalize=False).double(), attention={0: "conv", 1: "mean"}))
    batch, gates = padded_batch(model), random_gates(model, ["hidden"])
    longer = {name: F.pad(value, (0, 5)) for name, value in batch.items()}
    with torch.no_grad():
        short, long = model(**batch).logits, model(**longer).logits
        torch.testing.assert_close(long, short, atol=1e-10, rtol=0)
        wanted = model(**batch, gates=gates).logits
        torch.testing.assert_close(trim(model, gates)(**batch).logits, wanted, atol=1e-10, rtol=0)


@pytest.mark.parametrize("dense", [(), DENSE], ids=["bare", "dense"])
def test_counted_equals_computed(dense):
    for pooling in ("cls", "mean"):
        model = trim(embedder(pooling, dense), attention={2: "none"})
        computed = cost(model, 12)
        with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
            model(torch.randint(4, 50, (1, 12)), torch.ones(1, 12, dtype=torch.long))
        assert counter.get_total_flops() == computed.flops
        assert computed.params == sum(p.numel() for p in model.parameters())


def test_saved_equals_loaded(tmp_path):
    model = trim(embedder(dense=DENSE), attention={1: "mean"})
    model.save_pretrained(tmp_path)
    batch = padded_batch(model)
    with torch.no_grad():
        assert torch.equal(load(tmp_path)(**batch).logits, model(**batch).logits)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_exported_equals_pytorch(pooling, tmp_path):
    model = trained(trim(embedder(pooling, DENSE, layers=1), attention={0: "conv"}))
    session = OnnxSession(export(model, tmp_path, precision=["fp32"])[0].path, threads=1)
    for batch, n in [(1, 3), (4, 9)]:
        inputs = padded_batch(model, batch, n)
        with torch.no_grad():
            expected = model(**inputs).logits
        torch.testing.assert_close(torch.from_numpy(session.run(inputs)), expected, atol=1e-5, rtol=0)
