"""The laws for the heads that answer for every token, tokens and spans, in every family."""

import pytest
import torch
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.models import FAMILY_NAMES, WITHOUT_FAMILY, hard_gates, padded_batch, tiny, trained, with_layers
from trimformer import Gates, TrimformerForQuestionAnswering, cost, export, trim
from trimformer.encoder.model.heads import HEADS
from trimformer.inference.runtimes.onnx import OnnxSession

OF_TOKENS = [head for head in HEADS if not head.for_texts]
# What writes files is slow: one family for each way in which the heads and the positions of tokens differ.
DIFFERENT = ["bert", "deberta-v2", "modernbert"]
# By default each head in one family, and the first head in the others.
EXPORTED = [
    pytest.param(head, family, marks=() if family == "bert" or head is OF_TOKENS[0] else pytest.mark.slow)
    for head in OF_TOKENS
    for family in DIFFERENT
]


@pytest.fixture(params=OF_TOKENS, ids=lambda cls: cls.__name__)
def model(request, family):
    torch.manual_seed(0)
    made = request.param(tiny(family=family).config).eval()
    for name, parameter in made.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.3)
    return made


def longer_by(columns, model, batch):
    """The batch with more padding."""
    pad = model.config.pad_token_id
    return {name: F.pad(value, (0, columns), value=pad if name == "input_ids" else 0) for name, value in batch.items()}


@pytest.mark.parametrize("family", FAMILY_NAMES)
@pytest.mark.parametrize(("kind", "stand_in"), [("attention", "mean"), ("positions", "mean"), ("attention", "none")])
def test_trimmed_equals_gated(model, kind, stand_in):
    model = model.double()
    batch = padded_batch(model)
    gates = hard_gates(kind, 3, 4, 9, {0, 2}, stand_in)
    with torch.no_grad():
        difference = trim(model, gates)(**batch).logits - model(**batch, gates=gates).logits
    assert difference[batch["attention_mask"].bool()].abs().max() <= 1e-10


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_more_padding_changes_no_answer(model):
    model = trained(trim(model.double(), attention={0: "conv", 1: "mean"}))
    batch = padded_batch(model)
    longer = longer_by(5, model, batch)
    with torch.no_grad():
        short, long = model(**batch).logits, model(**longer).logits
    real = batch["attention_mask"].bool()
    torch.testing.assert_close(long[:, :9][real], short[real], atol=1e-10, rtol=0)


@pytest.mark.parametrize(("model", "family"), EXPORTED, indirect=["model"])
def test_exported_equals_pytorch(model, tmp_path):
    # Two layers, one full and one changed: writing a file takes seconds for each.
    model = trained(trim(trim(model, Gates(layers=torch.tensor([1.0, 1.0, 0.0]))), attention={0: "conv"}))
    session = OnnxSession(export(model, tmp_path, precision=["fp32"])[0].path, threads=1)
    for batch, n in [(1, 3), (4, 9)]:
        inputs = padded_batch(model, batch, n)
        real = inputs["attention_mask"].bool()
        with torch.no_grad():
            expected = model(**inputs).logits
        torch.testing.assert_close(torch.from_numpy(session.run(inputs))[real], expected[real], atol=1e-4, rtol=0)


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_counted_equals_computed(model):
    model = trim(model, attention={0: "conv", 2: "none"})
    computed = cost(model, 12)
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        model(torch.randint(4, 50, (1, 12)), torch.ones(1, 12, dtype=torch.long))
    assert counter.get_total_flops() == computed.flops
    assert computed.params == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_the_loss_looks_at_real_tokens_only(model):
    batch = padded_batch(model)
    longer = longer_by(5, model, batch)
    if isinstance(model, TrimformerForQuestionAnswering):
        labels = wide = torch.tensor([[1, 2], [0, 0], [3, 3], [2, 4]])
    else:
        labels = torch.where(batch["attention_mask"].bool(), batch["input_ids"] % 3, -100)
        wide = F.pad(labels, (0, 5), value=-100)
    with torch.no_grad():
        torch.testing.assert_close(model(**longer, labels=wide).loss, model(**batch, labels=labels).loss)


@pytest.mark.parametrize("head", HEADS, ids=lambda head: head.__name__)
@pytest.mark.parametrize("kind", WITHOUT_FAMILY)
def test_of_students_that_no_family_has(kind, head, tmp_path):
    """Padding changes nothing, counted equals computed, and saved equals loaded, behind every head."""
    torch.manual_seed(0)
    model = head(with_layers(kind).config).eval()
    batch = padded_batch(model)
    with torch.no_grad():
        short, long = model(**batch).logits, model(**longer_by(5, model, batch)).logits
    real = slice(None) if head.for_texts else batch["attention_mask"].bool()
    torch.testing.assert_close(long[real] if head.for_texts else long[:, :9][real], short[real], atol=1e-5, rtol=1e-5)
    assert cost(model, 12).params == sum(weight.numel() for weight in model.parameters())
    model.save_pretrained(tmp_path)
    with torch.no_grad():
        assert torch.equal(head.from_pretrained(tmp_path).eval()(**batch).logits, short)
