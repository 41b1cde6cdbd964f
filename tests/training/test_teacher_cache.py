"""The cache gives what the teacher gives, runs it once, and is never another's."""

import dataclasses
import errno

import numpy as np
import pytest
import torch

from tests.learning import batches, context, every_term
from trimformer import TrimformerError
from trimformer.training import teacher_cache
from trimformer.training.objective import readings_of, terms_of
from trimformer.training.terms.base import TERMS

NONE = dict.fromkeys(TERMS, 0.0)
SHAPES = {"hidden_size": 24, "layers": 6}


def stage(folder, cache=True, types=False, **options):
    made = context(objective=every_term(cache=cache) | options.pop("terms", {}), folder=folder, **options)
    if types:
        train = made.train
        made = dataclasses.replace(made, train=dataclasses.replace(train, types=(train.ids % 2).astype(np.uint8)))
    return made


def counted(made):
    """The batches that the teacher is run on."""
    seen = []
    made.teacher.register_forward_hook(lambda module, inputs, output: seen.append(1))
    return seen


def loss(made):
    student = made.student("student", made.model).module.eval()
    batch = made.train.batch([3, 0, 17, 5])
    with torch.no_grad():
        return made.make_objective()(student, batch)


@pytest.mark.parametrize("types", [False, True])
@pytest.mark.parametrize("kind", ["classification", "multilabel", "regression", "tokens", "spans"])
def test_cached_answers_are_the_teachers(tmp_path, kind, types):
    terms = {"relation_terms": ["attention", "query", "key", "value"]}
    live, cached = (stage(tmp_path, cache, types, kind=kind, teacher={"layers": 6}, terms=terms) for cache in (0, 1))
    torch.testing.assert_close(loss(cached), loss(live), atol=0, rtol=2e-3)  # half precision


@pytest.mark.parametrize("name", TERMS)
def test_each_term_finds_what_it_reads(tmp_path, name):
    terms = NONE | {name: 1.0}
    live, cached = (stage(tmp_path, cache, teacher={"layers": 6, "seed": 3}, terms=terms) for cache in (False, True))
    torch.testing.assert_close(loss(cached), loss(live), atol=0, rtol=2e-3)  # half precision


def test_logits_are_kept_exactly(tmp_path):
    only = NONE | {"task": 1.0, "logits": 1.0}
    live, cached = (stage(tmp_path, cache, teacher={"seed": 3}, terms=only) for cache in (False, True))
    torch.testing.assert_close(loss(cached), loss(live), atol=1e-6, rtol=0)
    assert {file.name for file in tmp_path.rglob("*.npy")} == {"logits.npy"}


def test_windows_and_rotary_positions_are_kept(tmp_path):
    terms = NONE | {"attention": 1.0}
    live, cached = (
        stage(tmp_path, cache, family="modernbert", teacher={"seed": 3}, terms=terms) for cache in (False, True)
    )
    torch.testing.assert_close(loss(cached), loss(live), atol=0, rtol=3e-4)


def test_the_teacher_runs_once_over_the_rows(tmp_path):
    made = stage(tmp_path)
    seen = counted(made)
    objective = made.make_objective()
    assert len(seen) == 1  # 48 rows in batches of 64
    for batch in batches(made, 3):
        objective(made.model, batch)
    stage_after = stage(tmp_path)
    seen_after = counted(stage_after)
    stage_after.make_objective()
    assert (len(seen), len(seen_after)) == (1, 0)


@pytest.mark.parametrize(
    "changed",
    [
        {"teacher": SHAPES | {"seed": 1}},
        {"rows": 40},
        {"types": True},
        {"terms": {"layer_map": [0, 1, 2]}},
        {"teacher": SHAPES | {"layer_norm_eps": 1e-5}},
    ],
    ids=str,
)
def test_another_teacher_other_rows_or_other_terms_have_another_cache(tmp_path, changed):
    stage(tmp_path, teacher=SHAPES).make_objective()
    other = stage(tmp_path, **{"teacher": SHAPES} | changed)
    seen = counted(other)
    other.make_objective()
    assert len(seen) == 1
    assert len(list(tmp_path.iterdir())) == 2


def test_a_cache_that_was_cut_does_not_look_whole(tmp_path):
    made = stage(tmp_path)

    def cut(module, inputs):
        raise KeyboardInterrupt

    hook = made.teacher.register_forward_pre_hook(cut)
    with pytest.raises(KeyboardInterrupt):
        made.make_objective()
    assert list(tmp_path.iterdir()) == []
    hook.remove()
    assert loss(made) >= 0


def test_only_what_the_terms_compare_is_kept(tmp_path):
    terms = NONE | {"hidden": 1.0, "relations": 1.0, "relation_terms": ["value"]}
    stage(tmp_path, teacher=SHAPES, terms=terms).make_objective()
    kept = {file.stem: np.load(file).dtype for file in tmp_path.rglob("*.npy")}
    assert set(kept) == {"logits", "hidden-2", "hidden-4", "hidden-6", "value-5"}
    assert kept.pop("logits") == np.float32
    assert set(kept.values()) == {np.dtype(np.float16)}


def test_a_text_that_is_not_there_is_refused(tmp_path):
    made = stage(tmp_path)
    with pytest.raises(TrimformerError, match="does not hold every text of this batch"):
        made.make_objective()(made.model, made.selection.batch([0, 1]))


def test_a_cache_that_is_too_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(teacher_cache, "LARGEST", 1000)
    with pytest.raises(TrimformerError, match="switch `cache` off"):
        stage(tmp_path).make_objective()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("terms", [{"attention": 1.0}, {"relations": 1.0, "relation_terms": ["attention"]}], ids=str)
def test_scores_with_a_term_for_each_pair_are_refused(tmp_path, terms):
    made = context(family="mpnet", objective=terms | {"cache": True}, folder=tmp_path)
    with pytest.raises(TrimformerError, match="mpnet teacher"):
        made.make_objective()


def test_self_relations_of_such_a_teacher_can_be_kept():
    made = context(family="deberta-v2", objective={"relations": 1.0})
    terms = terms_of(made.objective, made.model.config, made.teacher.config)
    assert [reading.file for reading in readings_of(terms)] == ["key-2", "query-2", "value-2"]


def test_numbers_beyond_half_precision_are_refused(tmp_path):
    made = stage(tmp_path)
    made.teacher.encoder.layers[2].ffn_norm.weight.data.mul_(1e6)
    with pytest.raises(TrimformerError, match="too large for half precision"):
        made.make_objective()


def test_a_full_disk_is_a_sentence(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(teacher_cache.os, "posix_fallocate", full)
    made = stage(tmp_path, teacher={"layers": 6}, terms=NONE | {"hidden": 1.0})
    with pytest.raises(TrimformerError, match="The disk is full while writing"):
        loss(made)
