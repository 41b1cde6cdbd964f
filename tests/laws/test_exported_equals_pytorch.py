"""Law: the exported model gives PyTorch's answers, with padding, at batches and lengths that the export never saw."""

import pytest
import torch

from tests.models import FAMILY_NAMES, padded_batch, tiny
from trimformer import export, trim
from trimformer.deploy.session import open_session, run_session

# XLM-RoBERTa and CamemBERT are RoBERTa's encoder under other names.
DISTINCT = [family for family in FAMILY_NAMES if family not in ("xlm-roberta", "camembert")]


@pytest.mark.parametrize(
    ("family", "removed"), [("bert", ()), ("bert", (0, 1, 2)), *((family, (1,)) for family in DISTINCT)]
)
def test_the_onnx_file_gives_the_same_logits(tmp_path, family, removed):
    model = trim(tiny(family=family), attention=dict.fromkeys(removed, "mean"))
    files = export(model, tmp_path / "onnx")
    session = open_session(files[0].path, threads=1)
    for batch, n in [(1, 3), (4, 9), (5, 21)]:
        inputs = padded_batch(model, batch, n)
        with torch.no_grad():
            expected = model(**inputs).logits
        torch.testing.assert_close(torch.from_numpy(run_session(session, inputs)), expected, atol=1e-4, rtol=0)
    assert files[1].max_abs_error < 0.1 * files[1].largest_output  # int8: near, for no weights were mixed up
