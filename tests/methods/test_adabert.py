"""AdaBERT: the probes, the loss of knowledge, the two kinds of steps, the cost, and the cells that are left."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from transformers import AutoModelForSequenceClassification

from tests.learning import batches, context, make_method
from tests.models import DISTINCT_FAMILIES, padded_batch, tiny, with_layers
from tests.tables import cached
from tests.tinymodel import write_csv, write_scores, write_stock_bert
from trimformer import Gates, TrimformerError, cost, trim
from trimformer.encoder.model.heads import IGNORED
from trimformer.encoder.parts.layers.cnn import cell_shape
from trimformer.measure.cost import expected_flops
from trimformer.measure.device.table import frame_of
from trimformer.methods import METHODS
from trimformer.methods.architecture.knowledge import fitted, knowledge_loss
from trimformer.pipeline.run import run
from trimformer.recipe.reading import parse
from trimformer.report import charts
from trimformer.training.loop import train

SMALL: dict[str, Any] = {"layers": 3, "nodes": 3, "operations": ["conv3", "max-pool", "skip"], "rows": 48}


def stage_of(**others: Any) -> Any:
    return context(**{"teacher": {"layers": 4}} | others)


def logits(model: Any, gates: Gates | None = None) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(**padded_batch(model), gates=gates).logits
    return found


def choices(method: Any, count: int = 4) -> list[list[int]]:
    torch.manual_seed(3)
    return [[int(torch.randint(own, ())) for own in method.counts] for _ in range(count)]


def test_a_copy_of_the_teacher_has_nothing_to_learn_and_padding_counts_for_nothing() -> None:
    stage = stage_of()
    probes = fitted(stage.teacher, stage, 48)
    batch = padded_batch(stage.teacher)
    longer = {name: F.pad(own, (0, 4)) for name, own in batch.items()}
    labels = torch.tensor([0, 1, 0, IGNORED])
    with torch.no_grad():
        short, long = (
            probes(stage.teacher(**own, output_hidden_states=True).hidden_states[1:], own["attention_mask"])
            for own in (batch, longer)
        )
    torch.testing.assert_close(long, short, atol=1e-5, rtol=0)
    whole = torch.tensor([0.0, 0.0, 0.0, 1.0])
    assert knowledge_loss(short, short, labels, whole) == 0
    assert knowledge_loss(short.flip(1), short, labels, whole) > 0


def test_a_probe_says_the_label_where_the_states_have_it() -> None:
    stage = stage_of(rows=96)
    with torch.no_grad():
        stage.teacher.get_input_embeddings().weight[7] = torch.tensor([9.0, -9.0] * 8)
    batch = stage.train.batch(range(96))
    states = stage.teacher(**{n: own for n, own in batch.items() if n != "labels"}, output_hidden_states=True)
    said = fitted(stage.teacher, stage, 96)(states.hidden_states[1:], batch["attention_mask"])
    assert (said[:, 0].argmax(-1) == batch["labels"]).float().mean() > 0.9  # of the first layer


def test_a_text_is_learned_from_the_layers_that_can_tell_it() -> None:
    """By hand: one text, a student of one layer or of two, a teacher of four."""
    torch.manual_seed(0)
    student, teacher = torch.randn(1, 2, 3), torch.randn(1, 4, 3)
    ours, theirs = student.log_softmax(-1)[0], teacher.log_softmax(-1)[0]

    def apart(layer: int, taught_by: int) -> torch.Tensor:
        return (theirs[taught_by].exp() * (theirs[taught_by] - ours[layer])).sum()

    sure = theirs[[1, 3], 2].exp()
    two = (sure[0] * apart(0, 1) + sure[1] * apart(1, 3)) / sure.sum()
    wanted = 0.25 * apart(0, 3) + 0.75 * two
    found = knowledge_loss(student, teacher, torch.tensor([2]), torch.tensor([0.25, 0.75]))
    torch.testing.assert_close(found, wanted)
    alike = 0.25 * apart(0, 3) + 0.75 * (apart(0, 1) + apart(1, 3)) / 2
    torch.testing.assert_close(
        knowledge_loss(student, teacher, torch.tensor([IGNORED]), torch.tensor([0.25, 0.75])), alike
    )


@pytest.mark.parametrize("family", DISTINCT_FAMILIES)
def test_what_is_left_is_the_mixture_with_shares_of_one(family: str) -> None:
    method = make_method("adabert", stage_of(family=family), **SMALL)
    for choice in choices(method):
        method.choice = lambda choice=choice: choice
        left = method.result().model
        torch.testing.assert_close(logits(left), logits(method.model, method.decide()), atol=1e-5, rtol=1e-5)
        assert len({str(shape.cell) for shape in left.config.shapes}) == 1
        assert left.config.num_hidden_layers == choice[-1] + 1
        assert all(len(node) <= 2 for node in left.config.shapes[0].cell["nodes"])
        assert f"{choice[-1] + 1} of at most 3 cells stay" in method.notes()[0]


def test_words_and_head_are_those_it_starts_from() -> None:
    stage = stage_of()
    model = make_method("adabert", stage, **SMALL).model
    assert torch.equal(model.get_input_embeddings().weight, stage.model.get_input_embeddings().weight)
    assert torch.equal(model.head.output.weight, stage.model.head.output.weight)


@pytest.mark.parametrize("what", ["flops", "params"])
def test_the_cost_of_a_choice_is_that_of_what_is_left(what: str) -> None:
    stage = stage_of()
    method = make_method("adabert", stage, **SMALL, cost=what, length=8)
    for choice in choices(method):
        method.choice = lambda choice=choice: choice
        counted = sum(getattr(layer, what) for layer in cost(method.result().model.config, 8).layers)
        assert method.cost(choice) * method.dearest.item() == pytest.approx(counted, rel=1e-5)
    top = [0] * len(method.edges) + [2]  # convolutions everywhere
    assert method.cost(top) == pytest.approx(1)
    method.expected(method.alphas()).backward()
    assert all(alpha.grad.abs().sum() > 0 for alpha in method.alphas.parameters())


def test_milliseconds_are_added_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    method = METHODS["adabert"]
    settings = method.Settings(**SMALL)
    config = method.after(settings, tiny(labels=2).config)
    pieces = {"rest": {0: 1.0}, "ffn": {0: 0.25}, "conv3": {0: 2.0}, "max-pool": {0: 0.5}}
    table = cached(monkeypatch, tmp_path, pieces=pieces, frame=frame_of(config))
    made = make_method("adabert", stage_of(), **SMALL, cost="ms", backend="torch", length=8)
    for choice in choices(made):
        made.choice = lambda choice=choice: choice
        left = table.predict(made.result().model.config) - 1
        missing = (3 - choice[-1] - 1) * 0.25  # a cell without operations is counted as one
        assert made.cost(choice) * made.dearest.item() == pytest.approx(left + missing)


def test_nothing_reads_a_node_that_has_nothing() -> None:
    method = make_method("adabert", stage_of(), **SMALL)
    zero = 3
    assert method.edges == [(1, 0), (2, 0), (2, 1), (3, 1), (3, 2)]
    found = method.hard([zero, zero, 0, 0, 0, 1])  # nodes 2 and 3 read node 1 alone, which is empty
    assert [int(own.argmax()) for own in found] == [zero] * 5 + [1]
    assert method.cost([zero, zero, 0, 0, 0, 1]) == 0


def test_each_step_moves_its_own_and_nothing_else() -> None:
    method = make_method("adabert", stage_of(), **SMALL)
    batch = batches(method.context, 1)[0]
    weights = {name: weight.detach().clone() for name, weight in method.model.named_parameters()}
    probes = [probe.detach().clone() for probe in method.networks["probes"].bare.parameters()]
    taught = {name: weight.clone() for name, weight in method.context.teacher.state_dict().items()}
    alphas = [alpha.detach().clone() for alpha in method.alphas.parameters()]
    method.turn(batch)
    assert not any(torch.equal(new, old) for new, old in zip(method.alphas.parameters(), alphas, strict=True))
    assert all(torch.equal(weight, weights[name]) for name, weight in method.model.named_parameters())
    method.micro_step(batch, 1.0)
    method.update(1)
    moved = [name for name, weight in method.model.named_parameters() if not torch.equal(weight, weights[name])]
    assert any("operations" in name for name in moved)
    assert not any(
        torch.equal(new, old) for new, old in zip(method.networks["probes"].bare.parameters(), probes, strict=True)
    )
    assert all(torch.equal(weight, taught[name]) for name, weight in method.context.teacher.state_dict().items())
    assert set(method.history.curves) >= {"share of conv3", "share of zero", "share of layers", "cost"}


def test_the_loss_is_what_the_publication_says() -> None:
    method = make_method("adabert", stage_of(), **SMALL, knowledge=0.25)
    batch, gates = batches(method.context, 1)[0], method.kept(method.hard([0] * 5 + [2]))
    model = method.model.eval()
    bare = method.knowing.objective(model, batch, gates)
    method.knowing.share = 1.0
    known = method.knowing(model, batch, gates)
    method.knowing.share = 0.25
    torch.testing.assert_close(method.knowing(model, batch, gates), 0.75 * bare + 0.25 * known)
    torch.testing.assert_close(method.pull(0.5), 4 * method.expected_now())


def learned(stage: Any, tmp_path: Any, **settings: Any) -> Any:
    method = make_method("adabert", stage, **{"layers": 1, "nodes": 1, "rows": 160, **settings})
    train(method, method.context.rows, stage.training, stage.accelerator, tmp_path, seed=0, title="toy")
    return method


def test_a_convolution_is_found_where_the_order_of_words_says_the_label(tmp_path: Any) -> None:
    """Tokens 7 and 8 stand side by side somewhere in every text; the label is which one comes first."""
    stage = stage_of(rows=640, epochs=6, learning_rate=1e-2, layers=1)
    rng, rows = np.random.default_rng(0), stage.train
    ids, labels = rows.ids.copy(), rng.integers(0, 2, len(rows))
    ids[ids < 9] = 9
    for label, begin, end in zip(labels, rows.offsets[:-1], rows.offsets[1:], strict=True):
        place = rng.integers(begin + 1, end - 1)
        ids[place : place + 2] = (7, 8) if label else (8, 7)
    rows = dataclasses.replace(rows, ids=ids, labels=labels.astype(np.int64))
    stage = dataclasses.replace(stage, train=rows)
    cells = {"operations": ["skip", "avg-pool", "conv3"], "knowledge": 0.0, "alpha_learning_rate": 0.05}
    method = learned(stage, tmp_path / "free", cost_weight=0.0, **cells)
    assert "node 1 conv3 of the input" in method.notes()[0]
    stage = dataclasses.replace(stage, training=stage.training.model_copy(update={"epochs": 1.0}))
    dear = learned(stage, tmp_path / "dear", cost_weight=1000.0, **cells)
    assert "conv3" not in dear.notes()[0]


def test_a_cell_is_cut_by_hard_gates_alone() -> None:
    model = with_layers("cnn")
    sizes = [len(own) for own in model.encoder.layers[-1].reads], model.config.shapes[-1]
    assert len(model.encoder.layers[-1].reads) == 5, sizes
    gates = [torch.ones(len(layer.reads)) for layer in model.encoder.layers]
    gates[-1] = torch.tensor([1.0, 0.0, 1.0, 0.0, 0.0])
    left = trim(model, Gates(operations=gates)).config.shapes[-1]
    assert left == cell_shape([[("conv3", 0)], [], [("dilated3", 1)]])
    gates[-1] = torch.full((5,), 0.5)
    with pytest.raises(TrimformerError, match=r"Gates of operations must be hard"):
        trim(model, Gates(operations=gates))
    assert expected_flops(model.config, 8, Gates()) == sum(layer.flops for layer in cost(model.config, 8).layers)


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ([[("conv4", 0)]], "or nodes that are lists of"),
        ([[("conv3", 1)]], "or nodes that are lists of"),
        ([[("conv3", 0), ("conv3", 0)]], "name each pair once"),
    ],
)
def test_what_is_no_cell_is_refused(nodes: Any, said: str) -> None:
    config = with_layers("cnn").config
    with pytest.raises(TrimformerError, match=said):
        config.with_shapes([cell_shape(nodes)])


def test_what_cannot_work_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown operation 'conv4'"):
        METHODS["adabert"].Settings(operations=["conv4"])
    config = tiny().config
    with pytest.raises(TrimformerError, match=r"another tokenizer than the dense model.*vectors: teacher"):
        METHODS["adabert"].check_beside(config, config, False)
    with pytest.raises(TrimformerError, match="let cost be flops, params, bytes or ms"):
        make_method("adabert", stage_of(), **SMALL, cost="dimensions")


def pipeline(folder: Path, search: dict[str, Any], **task: Any) -> Any:
    """A recipe that searches from a CNN student and repairs what is left."""
    write_stock_bert(folder / "bert")
    write_csv(folder / "data.csv")
    training = {"epochs": 1, "batch_size": 16, "learning_rate": 1e-3}
    stages = [
        {"name": "search", "start": {"name": "cnn", "hidden": 12} | search, "method": {"name": "adabert"} | SMALL},
        {"name": "repair", "method": {"name": "finetune"}},
    ]
    content = {
        "model": str(folder / "bert"),
        "task": {"data": str(folder / "data.csv"), "text": "review", "label": "stars"} | task,
        "out": str(folder / "out"),
        "precision": "fp32",
        "dense": training,
        "stages": [stage | {"training": training} for stage in stages],
        "measure": {"backends": ["torch"], "batch": [1], "length": [8]},
        "export": {"onnx": False},
    }
    return parse(content, "x")


def test_a_recipe_ends_with_a_student_of_cells_that_loads_anywhere(tmp_path: Path) -> None:
    report = run(pipeline(tmp_path, {}))
    left = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out" / "model")
    assert (left.config.layer_kind, left.config.hidden_size) == ("cnn", 12)
    assert f"search: {left.config.num_hidden_layers} of at most 3 cells stay" in " ".join(report.notes)
    assert {chart.title for chart in charts.curves(report)} >= {"search: cost", "search: share of layers"}


def test_the_pipeline_refuses_before_any_training_what_cannot_work(tmp_path: Path) -> None:
    write_scores(tmp_path / "scores.jsonl")
    recipe = pipeline(tmp_path, {}, data=str(tmp_path / "scores.jsonl"), text="text", label="label")
    with pytest.raises(TrimformerError, match="Stage search: adabert is for classification, and the task is regressi"):
        run(recipe)
    glove = tmp_path / "words.txt"
    glove.write_text("good 1 0\nbad 0 1\n", encoding="utf-8")
    with pytest.raises(TrimformerError, match=r"Stage search: The student reads texts with another tokenizer"):
        run(pipeline(tmp_path, {"vectors": str(glove)}))
