"""An embedding model from a folder of sentence-transformers to one that it loads, with texts alone and with couples."""

import json

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling

from tests.command import sentence, trimformer
from tests.encoder.test_embedding import write_sentence_encoder
from tests.tinymodel import BAD, FILLER, GOOD, write_stock_bert
from trimformer import Predictor, TrimformerError
from trimformer.pipeline.run import run
from trimformer.recipe.reading import parse

WORDS = GOOD + BAD + FILLER
REPAIR = {"name": "repair", "method": {"name": "finetune"}}
LIGHT = {"batch": [1], "length": [8], "backends": ["torch"], "resamples": 100}


def some_texts(rows, seed=0):
    draws = np.random.default_rng(seed)
    return [" ".join(draws.choice(WORDS, draws.integers(2, 7))) for _ in range(rows)]


@pytest.fixture
def source(tmp_path):
    return write_sentence_encoder(tmp_path, Pooling(16), Normalize())


def write_texts(folder, rows=120):
    (folder / "texts.txt").write_text("\n".join(some_texts(rows)) + "\n")
    return str(folder / "texts.txt")


def write_couples(folder, rows=40):
    file, draws = folder / "couples.jsonl", np.random.default_rng(1)
    values = zip(some_texts(rows, 1), some_texts(rows, 2), draws.random(rows), strict=True)
    file.write_text("".join(json.dumps({"one": a, "two": b, "score": float(s)}) + "\n" for a, b, s in values))
    return {"validation": str(file), "text": "one", "text_pair": "two", "label": "score"}


def compressed(source, out, task, objective, export=False, **others):
    training = {"epochs": 1, "batch_size": 16, "learning_rate": 1e-3}
    values = {
        "model": str(source),
        "out": str(out),
        "task": task,
        "stages": [
            {"name": "search", "method": {"name": "last-k", "keep_layers": 1}, "start": "dense"},
            REPAIR | {"objective": objective, "training": training},
        ],
        "measure": LIGHT,
        "export": {"onnx": export},
    }
    return run(parse(values | others, "these settings"))


def test_texts_alone_with_couples_for_the_final_test(source, tmp_path):
    task = {"texts": [write_texts(tmp_path)]} | write_couples(tmp_path)
    objective = {"task": 1.0, "logits": 1.0, "similarities": 1.0, "hidden": 1.0}
    report = compressed(source, tmp_path / "out", task, objective, export=True)
    assert (report.task.kind, report.task.metric, report.task.labelled_validation) == ("embedding", "spearman", True)
    assert report.removed_layers() == [1]
    assert report.task.n_validation == 40
    assert any("taken as an embedding model" in note for note in report.notes)
    folder, texts = tmp_path / "out" / "model", some_texts(5)
    ours = Predictor(folder, backend="onnx").vectors(texts)
    stock = SentenceTransformer(str(folder), device="cpu")
    np.testing.assert_allclose(ours, stock.encode(texts), atol=1e-5)
    assert stock.max_seq_length == 30
    assert stock.prompts["query"] == "good "
    card = (folder / "README.md").read_text()
    assert "SentenceTransformer(" in card
    assert "sentence-similarity" in card
    couples = write_couples(tmp_path)
    again = trimformer(
        "evaluate", folder, "--validation", couples["validation"], "--text", "one", "--text-pair", "two", "--label",
        "score", "--against", tmp_path / "out" / "dense" / "model", "--json",
    )  # fmt: skip
    assert again.code == 0, again.err
    assert json.loads(again.out)["scores"] == pytest.approx(report.variant("trimmed").scores, abs=1e-6)


def test_the_score_without_labels_is_agreement(source, tmp_path):
    task = {"texts": [write_texts(tmp_path)], "metric": "cosine"}
    before = compressed(source, tmp_path / "a", task, {"task": 1.0}, stages=[
        {"name": "search", "method": {"name": "last-k", "keep_layers": 1}, "start": "dense"}
    ])  # fmt: skip
    after = compressed(source, tmp_path / "b", task, {"task": 0.0, "logits": 1.0, "cache": True})
    assert before.task.score_name == "agreement (cosine)"
    assert before.variant("dense").score == pytest.approx(1)
    assert before.variant("trimmed").scores.keys() == {"cosine", "neighbours"}
    assert 0.9 < after.variant("trimmed").score < 1


def test_couples_are_learned_in_whole(source, tmp_path):
    couples = write_couples(tmp_path, 60)
    task = couples | {"train": couples["validation"], "kind": "embedding", "metric": "spearman@8"}
    report = compressed(source, tmp_path / "out", task, {"task": 1.0})
    assert (report.task.kind, report.task.metric) == ("embedding", "spearman@8")
    assert report.variant("trimmed").scores.keys() == {"spearman@8", "spearman", "pearson"}


@pytest.mark.parametrize("method", ["importance", "greedy", "hard-concrete", "vocabulary", "repair"])
def test_other_methods_take_embedding_models(source, tmp_path, method):
    from trimformer.methods import METHODS

    settings = {"name": method, **METHODS[method].example}
    stage = {"name": "own", "method": settings, "start": "dense", "training": {"epochs": 1, "batch_size": 16}}
    task = {"texts": [write_texts(tmp_path)]}
    report = compressed(source, tmp_path / "out", task, {}, stages=[stage])
    assert report.variant("trimmed").score > 0


def test_smaller_lengths_that_a_model_names_are_scored(source, tmp_path):
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps(config | {"matryoshka_dimensions": [4, 8, 16]}))
    stage = {"name": "search", "method": {"name": "last-k", "keep_layers": 1}, "start": "dense"}
    report = compressed(source, tmp_path / "out", {"texts": [write_texts(tmp_path)]}, {}, stages=[stage])
    assert report.variant("trimmed").scores.keys() == {"neighbours", "cosine", "neighbours@8", "neighbours@4"}


def test_smaller_lengths_that_an_objective_names_are_learned_scored_and_kept(source, tmp_path):
    task = {"texts": [write_texts(tmp_path)]}
    objective = {"task": 0.0, "logits": 1.0, "matryoshka": 1.0, "matryoshka_dims": [8]}
    report = compressed(source, tmp_path / "out", task, objective)
    assert report.variant("trimmed").scores.keys() == {"neighbours", "cosine", "neighbours@8"}
    assert json.loads((tmp_path / "out" / "model" / "config.json").read_text())["embedding"]["dims"] == [8]


def test_similarities_are_refused_for_other_kinds(tmp_path):
    model = write_stock_bert(tmp_path / "model", ["a", "b"])
    with pytest.raises(TrimformerError, match="'similarities' of the objective is for embedding"):
        compressed(model, tmp_path / "out", {"texts": [write_texts(tmp_path)]}, {"similarities": 1.0})


def test_a_broken_pooling_ends_the_command_with_a_sentence(source, tmp_path):
    (source / "1_Pooling" / "config.json").unlink()
    done = trimformer("compress", source, "--texts", write_texts(tmp_path), "--keep-layers", 1, "--out", tmp_path / "o")
    assert done.code == 2
    assert "There is no" in sentence(done)


def test_a_folder_is_exported_as_vectors_where_that_is_said(source, tmp_path):
    done = trimformer("export", source, "--kind", "embedding", "--precision", "fp32", "--out", tmp_path / "onnx")
    assert done.code == 0, done.err
    texts = some_texts(3)
    found = Predictor(tmp_path / "onnx").vectors(texts)
    np.testing.assert_allclose(found, SentenceTransformer(str(source), device="cpu").encode(texts), atol=1e-5)


def test_a_student_of_another_width_gives_vectors_of_the_teachers_length(source, tmp_path):
    start = {"name": "student", "shape": {"layers": 1, "hidden": 12, "heads": 2, "ffn": 20}}
    stage = REPAIR | {"start": start, "objective": {"task": 0.0, "logits": 1.0}, "training": {"epochs": 1}}
    report = compressed(source, tmp_path / "out", {"texts": [write_texts(tmp_path)]}, {}, stages=[stage])
    assert report.variant("trimmed").score > 0
    assert Predictor(tmp_path / "out" / "model").vectors(["good film"]).shape == (1, 16)


def test_a_student_whose_vectors_have_another_length_is_refused(source, tmp_path):
    from tests.models import tiny
    from tests.tinymodel import words_tokenizer

    tiny(1, hidden_size=12).encoder.save_pretrained(tmp_path / "other")
    words_tokenizer().save_pretrained(tmp_path / "other")
    stage = REPAIR | {"start": {"name": "student", "checkpoint": str(tmp_path / "other")}}
    with pytest.raises(TrimformerError, match="have 12 dimensions and the dense model's 16"):
        compressed(source, tmp_path / "out", {"texts": [write_texts(tmp_path)]}, {}, stages=[stage])
