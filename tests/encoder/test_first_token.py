"""What a head that reads the first token leaves uncomputed, without a change of its answer."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.models import FAMILY_NAMES, hard_gates, padded_batch, tiny, trained
from trimformer import Gates, trim

KINDS = [
    {},
    {2: "conv"},
    {1: "mean", 2: "none"},
    {1: "sparse-fixed", 2: "sparse-fixed"},
    {0: "none", 1: "none", 2: "none"},
]


@pytest.mark.parametrize("family", FAMILY_NAMES)
@pytest.mark.parametrize("kinds", KINDS, ids=str)
@pytest.mark.parametrize("gates", [None, "attention", "positions"])
def test_the_answer_is_that_of_all_tokens_computed(family, kinds, gates):
    model = trained(trim(tiny(family=family).double(), attention=kinds))
    batch = padded_batch(model)
    given = None if gates is None else hard_gates(gates, 3, 4, 9, {1})
    if gates == "positions":
        given = Gates(positions=torch.rand(3, 4, 1, 9, 9) < 0.6)
    with torch.no_grad():
        short = model(**batch, gates=given).logits
        whole = model(**batch, gates=given, output_hidden_states=True)
    torch.testing.assert_close(short, whole.logits, atol=1e-10, rtol=0)
    assert all(state.shape == (4, 9, 16) for state in whole.hidden_states)


def flops(model, n):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.randint(4, 50, (1, n)))
    return counter.get_total_flops()


def test_layers_after_the_last_that_mixes_do_no_work_per_token():
    three, one = tiny(layers=3), tiny(layers=1)
    suffix = [flops(trim(three, attention={1: "none", 2: "none"}), n) - flops(one, n) for n in (8, 32)]
    assert suffix[0] == suffix[1] == 2 * 4 * 16 * 24  # two feed-forward blocks of one token


def test_a_head_that_reads_all_tokens_gets_them_all():
    kinds = {1: "none", 2: "none"}
    first, mean = (trim(tiny(classifier_pooling=pooling), attention=kinds) for pooling in ("cls", "mean"))
    assert flops(mean, 32) - flops(first, 32) > 2 * 31 * 4 * 16 * 24
    assert mean.encoder(torch.randint(4, 50, (1, 32))).last_hidden_state.shape == (1, 32, 16)
