"""Runs on plain text: masked tokens, and general distillation of students from a teacher with and without a head."""

import pytest
import torch

from tests.tasks.plain_text.plain import masking_tokenizer
from tests.tinymodel import write_csv
from trimformer import TrimformerError, TrimformerForMaskedLM, load
from trimformer.encoder.checkpoints.load import load_tokenizer
from trimformer.inference.predictor import Predictor
from trimformer.pipeline.run import run
from trimformer.recipe.reading import parse
from trimformer.report import summary

SHAPE = {"layers": 1, "hidden": 8, "heads": 2, "ffn": 12}
TINYBERT = {"task": 0.0, "hidden": 1.0, "attention": 1.0, "embeddings": 1.0}


def recipe(home, model, *stages, task=None, **others):
    """Stages of one method, finetune, by what else is said of them."""
    training = {"epochs": 2, "batch_size": 8, "learning_rate": 1e-3}
    known = {"method": {"name": "finetune"}, "training": training}
    content = {
        "model": str(home / model),
        "task": {"name": "text", "texts": [str(home / "texts.txt")], "max_length": 16} | (task or {}),
        "out": str(home / "out"),
        "stages": [{"name": f"stage{i}"} | known | stage for i, stage in enumerate(stages)],
        "measure": {"backends": ["torch"], "batch": [1], "length": [8], "resamples": 100},
        "export": {"onnx": False},
    }
    return parse(content | others, "recipe")


def student(objective, **others):
    return {"start": {"name": "student", "shape": SHAPE}, "objective": objective} | others


def test_tinybert_without_a_head_lowers_its_own_loss_and_leaves_a_model_for_a_task(home):
    report = run(recipe(home, "body", student(TINYBERT)))
    assert summary.removal_words(report).startswith("Student of 1 fresh layers, 8 wide, ")
    (curve,) = [curve for curve in report.curves if curve.name == "held-out loss"]
    steps, losses = zip(*((point.step, point.value) for point in curve.points), strict=True)
    assert steps == (0, 6, 12)
    assert losses[-1] < losses[0]
    assert "has no masked-LM head" in report.notes[0]
    assert [variant.score for variant in report.variants] == [None, None]
    assert report.comparison is None
    model = load(home / "out" / "model")
    assert (type(model), model.config.hidden_size) == (TrimformerForMaskedLM, 8)
    dense = load(home / "out" / "dense" / "model").encoder.state_dict()
    given = load(home / "body").state_dict()
    assert all(torch.equal(weight, dense[name]) for name, weight in given.items())

    write_csv(home / "data.csv")
    task = {"name": "custom", "data": str(home / "data.csv"), "text": "review", "label": "stars", "texts": None}
    later = recipe(home, "out/model", {"start": "pretrained"}, task=task, out=str(home / "later"))
    found = run(later)
    assert found.task.kind == "classification"
    assert any("was made for masked-lm" in note for note in found.notes)


def test_the_student_of_the_general_step_goes_through_the_task_steps(home):
    run(recipe(home, "body", student(TINYBERT)))
    general = {"name": "student", "checkpoint": str(home / "out" / "model")}
    table = {"name": "custom", "train": str(write_csv(home / "rows.csv")), "text": "review", "label": "stars"}
    steps = [{"start": general, "objective": TINYBERT}, {"objective": {"task": 0.0, "logits": 1.0}}]
    training = {"epochs": 1, "batch_size": 8, "learning_rate": 1e-3}
    report = run(recipe(home, "body", *steps, task=table | {"texts": None}, out=str(home / "task"), dense=training))
    assert report.task.kind == "classification"
    config = load(home / "task" / "model").config
    assert (config.hidden_size, config.label_names) == (8, ["neg", "pos"])


def test_distilbert_from_layers_of_a_teacher_with_its_head(home):
    objective = {"task": 2.0, "logits": 5.0, "cosine": 1.0}
    stage = {"start": {"name": "student", "layers": [0]}, "objective": objective}
    report = run(recipe(home, "mlm", stage, task={"packed": True}))
    assert not any("masked-LM head" in note for note in report.notes)
    assert [(one.metric, one.n_examples > 0) for one in report.variants] == [("accuracy", True)] * 2
    assert report.task.kind == "masked-lm"
    card = (home / "out/model/README.md").read_text()
    assert "fill-mask" in card
    assert "AutoModelForMaskedLM" in card


def test_minilm_with_a_teacher_assistant(home):
    relations = {"task": 0.0, "relations": 1.0, "relation_heads": 2}
    stages = student(relations), student(relations | {"hidden": 1.0}, teacher="previous")
    run(recipe(home, "body", *stages))
    config = load(home / "out" / "model").config
    assert (config.hidden_size, config.num_hidden_layers) == (8, 1)


def test_mobilebert_layer_after_layer_on_pairs_and_then_its_teachers_answers(home):
    start = {
        "name": "mobilebert",
        "layers": 2,
        "hidden": 12,
        "body": 8,
        "heads": 2,
        "blocks": 1,
        "ffn": 8,
        "embedding": 6,
    }
    objective = {"task": 0.0, "hidden": 1.0, "attention": 1.0, "attention_distance": "divergence"}
    transfer = {"start": start, "method": {"name": "progressive"}, "objective": objective}
    answers = {"objective": {"task": 0.5, "logits": 0.5}}
    report = run(recipe(home, "mlm", transfer, answers, task={"pairs": True}))
    assert any("the layers 0, 1 were trained one after another" in note for note in report.notes)
    model = load(home / "out" / "model")
    assert (type(model), model.config.layer_kind) == (TrimformerForMaskedLM, "bottleneck")
    assert report.variants[1].score is not None


def test_the_teacher_is_what_the_stage_before_leaves(home):
    """A copy of the assistant has nothing to learn from it."""
    assistant = {"start": {"name": "student", "layers": [0]}, "objective": {"task": 1.0}}
    copy = {"start": "previous", "objective": TINYBERT, "teacher": "previous"}
    report = run(recipe(home, "mlm", assistant, copy))
    (curve,) = [curve for curve in report.curves if curve.name == "held-out loss"]
    assert (curve.stage, curve.points[0].step) == ("stage1", 0)
    assert curve.points[0].value < 1e-6


@pytest.mark.parametrize(
    ("model", "stage", "others", "said"),
    [
        ("body", student({"logits": 1.0}), {}, "has no masked-LM head whose answers"),
        ("body", student(TINYBERT | {"cache": True}), {}, "masked anew in each pass"),
        ("body", {"method": {"name": "vocabulary"}}, {}, "tokenised once"),
        ("body", student(TINYBERT), {"control": "dense"}, "control has no meaning for a task of plain text"),
        ("body", student(TINYBERT), {"task": {"label": "x"}}, "task.label has no meaning for text"),
        ("body", student(TINYBERT), {"task": {"texts": ["none.txt"]}}, "none.txt cannot be read"),
    ],
)
def test_what_plain_text_cannot_do(home, model, stage, others, said):
    task = others.pop("task", None)
    with pytest.raises(TrimformerError, match=said):
        run(recipe(home, model, stage, task=task, **others))
    assert not (home / "out.partial").exists()


def test_a_tokenizer_without_a_mask_is_refused(home):
    from tests.tinymodel import words_tokenizer

    words_tokenizer().save_pretrained(home / "body")
    assert load_tokenizer(home / "body").mask_token is None
    with pytest.raises(TrimformerError, match="no mask token"):
        run(recipe(home, "body", student(TINYBERT)))


def test_it_answers_no_questions(home):
    TrimformerForMaskedLM(load(home / "body").config).save_pretrained(home / "saved")
    masking_tokenizer().save_pretrained(home / "saved")
    with pytest.raises(TrimformerError, match="answers no questions"):
        Predictor(home / "saved")
