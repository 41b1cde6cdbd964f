"""A student: chosen layers of the teacher, a fresh shape, or another checkpoint with its own tokenizer."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from tests.command import trimformer
from tests.learning import toy_task
from tests.models import FAMILY_NAMES, padded_batch, tiny
from tests.tinymodel import words_tokenizer, write_csv, write_stock_bert
from trimformer import Gates, TrimformerError, TrimformerForSequenceClassification, cost, load, trim
from trimformer.encoder.checkpoints.load import Checkpoint, load_tokenizer
from trimformer.encoder.checkpoints.shapes import sizes_named, uniform_config
from trimformer.pipeline.run import run
from trimformer.recipe.reading import parse
from trimformer.report.schema import Report
from trimformer.starts import STARTS, Origin, Origins, Start
from trimformer.starts.cut import gates_to, spread

FRESH = {"layers": 2, "hidden": 8, "heads": 2, "ffn": 12}


def student(folder: Path, dense: Any = None, **settings: Any) -> Start:
    """A student of a dense model with four layers, which is saved in the folder."""
    model = dense or tiny(4, labels=2)
    model.save_pretrained(folder / "dense")
    origin = Origin(model.config, folder=folder / "dense")
    checkpoint = Checkpoint(model.config, {}, None, "given")
    origins = Origins(checkpoint, words_tokenizer(), False, toy_task(), origin, origin)
    return STARTS["student"](STARTS["student"].Settings(**settings), origins)


def test_chosen_layers_are_those_of_the_teacher(tmp_path: Path) -> None:
    dense = tiny(4, labels=2)
    found = student(tmp_path, dense, layers=[0, 3])
    model = found.model()
    assert found.config.shapes == model.config.shapes
    expected = trim(dense, Gates(layers=torch.tensor([1.0, 0.0, 0.0, 1.0])))
    assert all(torch.equal(weight, model.state_dict()[name]) for name, weight in expected.state_dict().items())
    assert (found.own_tokenizer, found.tokenizer()) == (False, None)


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_a_fresh_shape_of_every_family(tmp_path: Path, family: str) -> None:
    dense = tiny(3, family=family, labels=2)
    found = student(tmp_path, dense, shape=FRESH | {"layers": 4})
    assert [(s.attention, s.heads, s.head_size, s.ffn) for s in found.config.shapes] == [("full", 2, 4, 12)] * 4
    torch.manual_seed(0)
    model = found.model()
    assert model.config.hidden_size == 8
    torch.manual_seed(0)
    again = found.model()
    assert all(torch.equal(weight, again.state_dict()[name]) for name, weight in model.state_dict().items())
    batch = padded_batch(model)
    assert model(**batch).logits.shape == dense(**batch).logits.shape


def test_a_fresh_shape_does_not_have_what_the_dense_model_had_become(tmp_path: Path) -> None:
    """Neither its fixed attention nor its thin maps."""
    dense = trim(tiny(3, labels=2), attention={1: "gaussian"})
    maps = {"ffn_out": {"kind": "low-rank", "rank": 2}}
    thin = [dataclasses.replace(shape, maps=maps) for shape in dense.config.shapes]
    found = student(tmp_path, type(dense)(dense.config.with_shapes(thin)), shape=FRESH | {"layers": 3})
    assert all((shape.own, shape.maps) == ({}, {}) for shape in found.config.shapes)
    assert found.model()(**padded_batch(found.model())).logits.shape == (4, 2)


def test_another_checkpoint_gets_a_head_for_the_task(tmp_path: Path) -> None:
    write_stock_bert(tmp_path / "small", layers=1)
    found = student(tmp_path, checkpoint=str(tmp_path / "small"))
    assert len(found.config.shapes) == 1
    model = found.model()
    assert model.config.label_names == ["a", "b"]
    bare: Any = load(tmp_path / "small")
    assert torch.equal(model.encoder.embeddings.word.weight, bare.embeddings.word.weight)
    assert not found.own_tokenizer  # it is the same as that of the run
    assert found.weights().keys() == {f"encoder.{name}" for name in bare.state_dict()} | {
        "head.dense.weight",
        "head.dense.bias",
    }
    assert not student(tmp_path, layers=[0]).weights()


def other_tokenizer(folder: Path) -> None:
    """The same words under other numbers."""
    content = json.loads(words_tokenizer().backend_tokenizer.to_str())
    words = content["model"]["vocab"]
    content["model"]["vocab"] = {word: i if i < 4 else len(words) + 3 - i for word, i in words.items()}
    backend = Tokenizer.from_str(json.dumps(content))
    named = words_tokenizer().special_tokens_map
    PreTrainedTokenizerFast(tokenizer_object=backend, **named).save_pretrained(folder)


def test_another_checkpoint_may_have_its_own_tokenizer(tmp_path: Path) -> None:
    other_tokenizer(write_stock_bert(tmp_path / "small", layers=1))
    found = student(tmp_path, checkpoint=str(tmp_path / "small"))
    assert found.own_tokenizer
    tokenizer = found.tokenizer()
    assert tokenizer is not None
    assert tokenizer.get_vocab() == load_tokenizer(tmp_path / "small").get_vocab() != words_tokenizer().get_vocab()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"layers": [0, 4]}, "start.layers [0, 4] must be different layers in their order, from 0 to 3"),
        ({"layers": [2, 1]}, "start.layers [2, 1] must be different layers in their order"),
        ({"layers": [1, 1]}, "start.layers [1, 1] must be different layers in their order"),
        ({"shape": FRESH | {"hidden": 9}}, "start.shape: 2 heads do not divide a width of 9"),
        ({"checkpoint": "./missing"}, "./missing is not a model folder"),
        ({"shape": FRESH | {"layers": 5}, "weights": "teacher"}, "layers 5 are more than the 4 of the dense model"),
        ({"shape": FRESH | {"hidden": 18}, "weights": "teacher"}, "hidden 18 are more than the 16 of the dense model"),
        (
            {"shape": FRESH | {"heads": 1, "hidden": 9}, "weights": "teacher"},
            "heads of this many dimensions 9 are more",
        ),
    ],
)
def test_what_does_not_fit_is_refused_before_any_work(tmp_path: Path, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(TrimformerError) as caught:
        _ = student(tmp_path, **settings).config
    assert said in str(caught.value)


def test_distil_is_every_second_layer(tmp_path: Path) -> None:
    dense = tiny(5, labels=2)
    expected = trim(dense, Gates(layers=torch.tensor([float(i in spread(3, 5)) for i in range(5)])))
    model = student(tmp_path, dense, layers="distil").model()
    assert [spread(count, 12) for count in (6, 4)] == [[0, 2, 4, 6, 8, 10], [0, 3, 6, 9]]
    assert all(torch.equal(weight, model.state_dict()[name]) for name, weight in expected.state_dict().items())


@pytest.mark.parametrize(
    ("name", "sizes"),
    [("tinybert4", (4, 312, 12, 1200)), ("tinybert6", (6, 768, 12, 3072)), ("minilm6", (6, 384, 12, 1536))],
)
def test_shapes_by_name(name: str, sizes: tuple[int, ...]) -> None:
    """TinyBERT: Jiao et al., 2020, section 4.2; MiniLM: Wang et al., 2020."""
    shape = STARTS["student"].Settings(shape=name).shape
    assert (shape.layers, shape.hidden, shape.heads, shape.ffn) == sizes


def test_tinybert4_has_the_published_number_of_weights() -> None:
    """Jiao et al. (2020) print 14.5 M."""
    shape = uniform_config(*sizes_named("tinybert4"))
    assert cost(shape, head=TrimformerForSequenceClassification).params == pytest.approx(14.5e6, rel=0.02)


CUT = {"layers": 2, "hidden": 12, "heads": 2, "ffn": 10}


@pytest.mark.parametrize("family", ["bert", "mpnet", "distilbert", "electra"])
def test_a_shape_with_the_weights_of_the_teacher(tmp_path: Path, family: str) -> None:
    dense = tiny(4, family=family, labels=2)
    found = student(tmp_path, dense, shape=CUT, weights="teacher")
    config, model = found.config, found.model()
    assert config.shapes == model.config.shapes
    assert [(s.heads, s.head_size, s.ffn) for s in config.shapes] == [(2, 6, 10)] * 2
    assert (model.config.hidden_size, found.new_head) == (12, False)
    gates = gates_to(found.settings.shape, dense.config, dense)
    batch = padded_batch(dense)
    with torch.no_grad():
        torch.testing.assert_close(model(**batch).logits, dense(**batch, gates=gates).logits, atol=1e-4, rtol=1e-4)


def test_what_weighs_most_stays() -> None:
    dense = tiny(2, labels=2)
    with torch.no_grad():
        for name, weight in dense.named_parameters():
            if name.startswith("encoder.layers.1.ffn_in"):
                weight[[3, 7]] *= 100
            if name.startswith(("encoder.layers.0.attention.value", "encoder.layers.0.attention.query")):
                weight[8:] *= 100  # of the second head
    shape = STARTS["student"].Settings(shape={"layers": 2, "hidden": 8, "heads": 1, "ffn": 2}).shape
    gates = gates_to(shape, dense.config, dense)
    assert gates.ffn[1].nonzero().flatten().tolist() == [3, 7]
    assert gates.heads[0].tolist() == [0, 1]


def test_a_shape_of_the_size_of_the_teacher_is_the_teacher(tmp_path: Path) -> None:
    dense = tiny(2, labels=2)
    shape = {"layers": 2, "hidden": 16, "heads": 2, "ffn": 24}
    model = student(tmp_path, dense, shape=shape, weights="teacher").model()
    assert all(torch.equal(weight, model.state_dict()[name]) for name, weight in dense.state_dict().items())


@pytest.mark.parametrize("settings", [{}, {"layers": [0], "checkpoint": "x"}, {"shape": FRESH, "layers": [0]}], ids=str)
def test_one_of_three(settings: dict[str, Any]) -> None:
    with pytest.raises(TrimformerError, match=r"stages\.0\.start in x: name one of layers, shape and checkpoint\."):
        recipe([{"name": "student"} | settings])


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A teacher with four layers, a smaller encoder with its own tokenizer, and texts; it is the current folder."""
    folder = tmp_path_factory.mktemp("home")
    write_stock_bert(folder / "bert", layers=4)
    other_tokenizer(write_stock_bert(folder / "small", layers=1))
    write_csv(folder / "data.csv")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"shape": "tinybert5"}, r"start\.shape in x: Unknown shape 'tinybert5': known are .*; did you mean tinybert"),
        ({"layers": "half"}, r"start\.layers in x: 'half' names no layers: write distil or a list of numbers\."),
        ({"layers": [0], "weights": "teacher"}, "weights belong to a shape: leave them out, or name a shape"),
        ({"layers": []}, "layers"),
    ],
)
def test_what_is_misspelt_is_said(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(TrimformerError, match=said):
        recipe([{"name": "student"} | settings])


def recipe(starts: list[dict[str, Any]], **objective: float) -> Any:
    training = {"epochs": 1, "batch_size": 16, "learning_rate": 1e-3}
    stages = [
        {
            "name": f"s{number}",
            "method": {"name": "finetune"},
            "start": start,
            "objective": {"logits": 1.0} | objective,
            "training": training,
        }
        for number, start in enumerate(starts)
    ]
    content = {
        "model": "bert",
        "task": {"data": "data.csv", "text": "review", "label": "stars"},
        "out": "out",
        "dense": training,
        "stages": stages,
        "measure": {"backends": ["torch"], "batch": [1], "length": [8]},
        "export": {"onnx": False},
    }
    return parse(content, "x")


def test_students_of_all_three_kinds_learn_and_the_last_is_reported(home: Path) -> None:
    starts = [{"layers": [0, 2]}, {"shape": FRESH}, {"checkpoint": "small"}]
    report = run(recipe([{"name": "student"} | start for start in starts]))
    trimmed = report.variant("trimmed")
    assert trimmed is not None
    assert len(trimmed.layers) == 1
    assert report.method == "student of layers 0, 2 + student of 2 fresh layers, 8 wide + student from small"
    assert load_tokenizer("out/model").get_vocab() == load_tokenizer("small").get_vocab()
    columns = ["--data", "data.csv", "--text", "review", "--label", "stars"]
    again = trimformer("evaluate", "out/model", *columns, "--against", "out/dense/model", "--json")
    found = json.loads(again.out)
    assert found["scores"] == pytest.approx(trimmed.scores)
    assert report.comparison is not None
    assert found["against"]["difference"] == pytest.approx(report.comparison.difference)
    assert Report.model_validate_json(Path("out/report.json").read_text()).recipe["stages"][0]["start"]["layers"] == [
        0,
        2,
    ]


def test_tokens_that_differ_cannot_be_compared(home: Path) -> None:
    with pytest.raises(TrimformerError, match="Stage s0: the model and its teacher split texts differently"):
        run(recipe([{"name": "student", "checkpoint": "small"}], hidden=1.0).model_copy(update={"out": "no"}))
    assert not Path("no.partial").exists()
