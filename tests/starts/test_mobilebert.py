"""The start mobilebert: MobileBERT's shape behind the teacher's tokens."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import MobileBertConfig
from transformers.models.mobilebert.modeling_mobilebert import MobileBertEncoder

from tests.models import padded_batch, tiny
from tests.starts.test_vectors import origins_of
from trimformer import cost
from trimformer.encoder.model.body import TrimformerModel
from trimformer.recipe.standard import student_start
from trimformer.starts import STARTS
from trimformer.starts.vectors import fitted

SMALL = {"layers": 2, "hidden": 20, "body": 8, "heads": 2, "blocks": 2, "ffn": 12, "embedding": 6}


@pytest.mark.parametrize("family", ["bert", "deberta-v2", "modernbert", "albert", "mpnet", "roberta"])
def test_a_student_of_every_family_reads_what_its_teacher_reads(tmp_path: Path, family: str) -> None:
    start = STARTS["mobilebert"]
    found = start(start.Settings(**SMALL), origins_of(tmp_path, family))
    model = found.model()
    assert found.config.shapes == model.config.shapes
    assert (found.own_tokenizer, found.new_head, model.config.hidden_size) == (False, True, 20)
    assert model(**padded_batch(tiny(2, family=family))).logits.shape == (4, 2)
    assert cost(model).params == sum(weight.numel() for weight in model.parameters())
    words = found.origins.dense.model().get_input_embeddings().weight.detach()
    torch.testing.assert_close(model.get_input_embeddings().weight, fitted(words, 6))


def test_its_layers_are_as_large_as_published(tmp_path: Path) -> None:
    assert student_start("mobilebert") == {"name": "mobilebert"}
    start = STARTS["mobilebert"]
    config = start(start.Settings(), origins_of(tmp_path, "bert")).config
    with torch.device("meta"):
        ours, stock = TrimformerModel(config).layers, MobileBertEncoder(MobileBertConfig())
    sizes = [sum(weight.numel() for weight in module.parameters()) for module in (ours, stock)]
    assert sizes[0] == sizes[1] > 20_000_000
