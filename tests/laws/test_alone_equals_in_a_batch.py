"""Law: a text's answer does not depend on its batch, in the files of every precision."""

import pytest
import torch

from tests.learning import batches, context, make_method
from tests.models import padded_batch, tiny, trained, with_tokens
from trimformer import trim
from trimformer.deploy.writers import write
from trimformer.inference.runtimes.backends import FILE_BACKENDS, open_backend


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


@pytest.mark.parametrize("backend", [name for name in FILE_BACKENDS if name != "torch-export"])
def test_a_text_alone_and_beside_longer_ones(folder, backend):
    torch.manual_seed(0)
    check(trained(trim(tiny(3), attention={0: "conv", 1: "mean"})), backend, folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    "backend", [name for name, found in FILE_BACKENDS.items() if found.precision in ("fp32", "int8")]
)
def test_where_layers_hand_on_fewer_tokens(folder, backend):
    check(with_tokens(tiny(3), 0.7, 5), backend, folder / "fewer")


@pytest.mark.parametrize("backend", [name for name, found in FILE_BACKENDS.items() if found.precision == "int8"])
def test_with_the_ranges_of_a_training_for_int8(folder, backend):
    model = make_method("qat", context(attention={1: "mean", 2: "conv"}))
    for batch in batches(model.context, 2):
        model.micro_step(batch, 1.0)
    check(model.result().model.eval(), backend, folder / "qat")


def check(model, backend, folder):
    session = open_backend(write(model, backend, folder), backend, threads=1)
    batch = padded_batch(model, 5, 21)
    together = torch.from_numpy(session.run(batch))
    # OpenVINO computes with 4-bit weights in bfloat16 where the processor has it.
    rough = FILE_BACKENDS[backend].precision in ("bf16", "int4")
    allowed = (0.03 if rough else 1e-3) * float(together.abs().max())
    for row in range(5):
        n = int(batch["attention_mask"][row].sum())
        alone = session.run({name: value[row : row + 1, :n] for name, value in batch.items()})
        torch.testing.assert_close(torch.from_numpy(alone)[0], together[row], atol=allowed, rtol=0)
