"""Narrow embedding tables: as wide as before they answer as before, and what they lose is what the SVD says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.learning import context, make_method
from tests.models import FAMILY_NAMES, padded_batch, tiny
from trimformer import TrimformerError, load, to_huggingface, trim
from trimformer.methods import METHODS
from trimformer.methods.weights.factorise_embedding import main_plane, without_mean

METHOD: Any = METHODS["factorise-embedding"]


def output(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(**padded_batch(model)).logits
    return found


def narrowed(stage: Any, width: int) -> Any:
    return make_method("factorise-embedding", stage, width=width).result()


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_as_wide_as_before_the_encoder_answers_as_before(family: str, tmp_path: Path) -> None:
    stage = context(family=family, rows=8)
    width = stage.model.config.embedding_size or stage.model.config.hidden_size
    # A norm after training: neither ones nor zeros.
    norm = stage.model.encoder.embeddings.norm
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(0.5, 1.5, len(norm.weight)))
    model = narrowed(stage, width).model
    assert model.config.embedding_size == width
    torch.testing.assert_close(output(model), output(stage.model), atol=1e-4, rtol=1e-4)
    model.save_pretrained(tmp_path)
    assert torch.equal(output(load(tmp_path)), output(model))


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_narrower_tables_are_the_shape_that_was_foreseen(family: str) -> None:
    stage = context(family=family, rows=8)
    foreseen = METHOD.after(METHOD.Settings(width=6), stage.model.config)
    result = narrowed(stage, 6)
    assert result.model.config.to_dict() == foreseen.to_dict()
    assert result.model.encoder.embeddings.word.weight.shape == (50, 6)
    assert output(result.model).isfinite().all()
    before, after = stage.model.encoder.layers.state_dict(), result.model.encoder.layers.state_dict()
    assert all(torch.equal(before[name], weight) for name, weight in after.items())
    trim(result.model, attention={0: "mean"})


def test_the_wider_the_tables_the_nearer_the_answers() -> None:
    stage = context(rows=8)
    far = [float((output(narrowed(stage, width).model) - output(stage.model)).abs().mean()) for width in (4, 15, 16)]
    assert far[0] > 3 * far[1] > 3 * far[2]


def test_what_is_lost_are_the_squared_singular_values_left_out() -> None:
    torch.manual_seed(0)
    tables = [torch.randn(40, 12, dtype=torch.float64), torch.randn(5, 12, dtype=torch.float64)]
    tables = [table - table.mean(1, keepdim=True) for table in tables]
    found = main_plane(tables, 4)
    singular = torch.linalg.svdvals(torch.cat([table / len(table) ** 0.5 for table in tables]))
    assert found.lost == pytest.approx(float(singular[4:].square().sum() / singular.square().sum()), rel=1e-9)
    left = sum(float((table - table @ found.basis @ found.basis.T).square().sum(1).mean()) for table in tables)
    assert left == pytest.approx(float(singular[4:].square().sum()), rel=1e-9)


def test_the_mean_is_left_out_and_lengths_stay() -> None:
    columns = without_mean(7)
    torch.testing.assert_close(columns.T @ columns, torch.eye(6, dtype=torch.float64))
    torch.testing.assert_close(columns.sum(0), torch.zeros(6, dtype=torch.float64), atol=1e-12, rtol=0)


def test_a_masked_lm_head_is_tied_to_the_narrow_table_and_says_that_it_is_a_start() -> None:
    result = narrowed(context(kind="masked-lm", rows=8), 8)
    assert result.model.head.output.weight is result.model.encoder.embeddings.word.weight
    assert output(result.model).isfinite().all()
    assert "only a start" in result.notes[1]


def test_no_stock_bert_has_narrow_tables() -> None:
    with pytest.raises(TrimformerError, match="have a map behind them, which a stock bert model does not have"):
        to_huggingface(narrowed(context(rows=8), 8).model)


def test_wider_tables_are_refused_before_any_work() -> None:
    with pytest.raises(TrimformerError, match="are 16 wide, and width=17 would widen them: ask for at most 16"):
        METHOD.after(METHOD.Settings(width=17), tiny().config)
