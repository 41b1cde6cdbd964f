"""A stage may end with another tokenizer: what follows reads the rows with it, the teacher still with its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from tests.command import trimformer
from tests.tinymodel import SPECIAL, write_csv, write_stock_bert
from trimformer.encoder.checkpoints.load import load_tokenizer
from trimformer.methods import METHODS, Method, Result
from trimformer.pipeline.run import run
from trimformer.recipe.reading import parse

COLUMNS = {"text": "review", "label": "stars"}
EVERY_LAYER = {"name": "last-k", "keep_layers": 2}


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A classifier without dropout, and texts; it is the current folder."""
    folder = tmp_path_factory.mktemp("home")
    write_stock_bert(folder / "bert", ["pos", "neg"])
    config = json.loads((folder / "bert/config.json").read_text())
    none = dict.fromkeys(["hidden_dropout_prob", "attention_probs_dropout_prob"], 0.0)
    (folder / "bert/config.json").write_text(json.dumps(config | none))
    write_csv(folder / "data.csv")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


def renumbered(tokenizer: Any) -> tuple[PreTrainedTokenizerFast, torch.Tensor]:
    """The tokenizer with its words in reversed order, special ones apart; and the old id of each new one."""
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    words = content["model"]["vocab"]
    first, last = len(SPECIAL), len(words) - 1
    content["model"]["vocab"] = {word: i if i < first else last + first - i for word, i in words.items()}
    order = torch.arange(30)
    order[first : last + 1] = order[first : last + 1].flip(0)
    backend = type(tokenizer.backend_tokenizer).from_str(json.dumps(content))
    return PreTrainedTokenizerFast(tokenizer_object=backend, **tokenizer.special_tokens_map), order


def renumber(self: Method) -> Result:
    """The model as it is, with another number for every word."""
    assert self.context.tokenizer is not None
    tokenizer, order = renumbered(self.context.tokenizer)
    words = self.model.encoder.embeddings.word.weight
    words.data = words.data[order]
    return Result(self.model.cpu(), tokenizer, notes=["every word has another number."])


@pytest.fixture
def renumbering(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(METHODS["last-k"], "result", renumber)
    monkeypatch.setattr(METHODS["last-k"], "changes_tokenizer", True)


def recipe(out: str, **repair: Any) -> Any:
    stages = [{"name": "renumber", "method": EVERY_LAYER}]
    if repair:
        stages.append({"name": "repair", "method": {"name": "finetune"}, **repair})
    content = {
        "model": "bert",
        "task": {"data": "data.csv", **COLUMNS},
        "out": out,
        "precision": "fp32",
        "fine_tune": "never",
        "stages": stages,
        "measure": {"backends": ["torch"], "batch": [1], "length": [8]},
        "export": {"onnx": False},
    }
    return parse(content, "x")


@pytest.mark.usefixtures("renumbering")
def test_the_result_is_scored_and_saved_with_its_own_tokenizer() -> None:
    report = run(recipe("alone"))
    dense, other = report.variants
    assert report.comparison is not None
    assert (other.score, report.comparison.difference) == (dense.score, 0)
    *warnings, own = report.notes
    assert own == "renumber: every word has another number."
    assert all("never answers" in note for note in warnings)  # the model is untrained
    ids = [load_tokenizer(folder)("good film").input_ids for folder in ("alone/dense/model", "alone/model")]
    assert ids[0] != ids[1]
    answers = [
        trimformer("predict", folder, "data.csv", "--text", "review", "--json").out
        for folder in ("bert", "alone/model")
    ]
    scores = [[json.loads(line)["scores"]["pos"] for line in answer.splitlines()] for answer in answers]
    assert scores[1] == pytest.approx(scores[0], abs=1e-5)


@pytest.mark.parametrize("cache", [False, True])
@pytest.mark.usefixtures("renumbering")
def test_a_later_stage_learns_from_a_teacher_with_other_tokens(cache: bool) -> None:
    out, training = f"repaired-{cache}", {"epochs": 1, "batch_size": 16, "learning_rate": 1e-3}
    run(recipe(out, objective={"task": 0.0, "logits": 1.0, "cache": cache}, training=training))
    first = json.loads(Path(out, "metrics.jsonl").read_text().splitlines()[0])
    assert (first["stage"], first["step"]) == ("repair", 1)
    assert first["loss"] == pytest.approx(0, abs=1e-6)  # the same model under other numbers
    tokenizer, _ = renumbered(load_tokenizer("bert"))
    assert load_tokenizer(f"{out}/model")("good film").input_ids == tokenizer("good film").input_ids


@pytest.mark.usefixtures("renumbering")
def test_a_run_that_is_resumed_knows_the_tokenizer(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is that of the stage which was done before."""
    settings = {"objective": {"task": 0.0, "logits": 1.0}, "training": {"epochs": 1, "learning_rate": 1e-3}}
    with monkeypatch.context() as patch:
        patch.setattr("trimformer.pipeline.stages.train", None)
        with pytest.raises(TypeError):
            run(recipe("cut", **settings))
    monkeypatch.undo()  # the stage is not done again
    run(recipe("cut", **settings), resume=True)
    first = json.loads(Path("cut", "metrics.jsonl").read_text().splitlines()[0])
    assert first["loss"] == pytest.approx(0, abs=1e-6)
