"""The distance of the first dimensions of vectors."""

import pytest
import torch

from tests.models import tiny
from trimformer import TrimformerError
from trimformer.encoder.checkpoints.load import with_labels
from trimformer.encoder.model.heads.embedding import vector_loss
from trimformer.training.objective import terms_of
from trimformer.training.settings import ObjectiveSettings
from trimformer.training.terms.matryoshka import matryoshka_loss


def test_it_is_the_mean_of_the_losses_of_the_cut_vectors():
    torch.manual_seed(0)
    student, teacher = torch.randn(5, 8), torch.randn(5, 8)
    expected = (vector_loss(student[:, :2], teacher[:, :2]) + vector_loss(student[:, :4], teacher[:, :4])) / 2
    torch.testing.assert_close(matryoshka_loss(student, teacher, (2, 4)), expected)
    assert matryoshka_loss(teacher, teacher, (2, 4)).item() == pytest.approx(0, abs=1e-6)
    later = torch.cat([teacher[:, :4], student[:, 4:]], 1)
    assert matryoshka_loss(later, teacher, (2, 4)).item() == pytest.approx(0, abs=1e-6)


def dims(embedding, **settings):
    config = with_labels(tiny(2).config, (), "embedding")
    config.embedding = embedding
    (_, term) = terms_of(ObjectiveSettings(matryoshka=1.0, **settings), config, config)
    return term.dims


def test_the_dimensions_are_those_that_are_named_else_the_models():
    assert dims({"dims": [8, 4]}) == (8, 4)
    assert dims({"dims": [8, 4]}, matryoshka_dims=[2]) == (2,)
    assert dims({"dense": [{"size": 12}]}) == (6, 3)
    with pytest.raises(TrimformerError, match="names the length 16, and the vectors have 16 dimensions"):
        dims({}, matryoshka_dims=[16, 4])
