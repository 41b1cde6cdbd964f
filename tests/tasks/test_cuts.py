"""Where texts are cut: options, then what the model was saved with, then the defaults."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from tests.tasks.helpers import sentences
from tests.tinymodel import words_tokenizer, write_stock_bert
from trimformer import Predictor, evaluate
from trimformer.deploy.scoring import Scorer
from trimformer.encoder.checkpoints.load import load_tokenizer, load_with_head
from trimformer.errors import TrimformerError
from trimformer.explanation.explain import _rows
from trimformer.measure.bench.bench import Texts, _training_rows, read_texts
from trimformer.measure.bench.score import validation
from trimformer.pipeline.accelerator import prepared
from trimformer.pipeline.inputs import load_inputs
from trimformer.recipe.standard import standard_recipe
from trimformer.tasks.cuts import Cuts, cuts_of, save_cuts
from trimformer.tasks.encoding.word_pieces import tokenise
from trimformer.tasks.settings import TaskSettings

LONG = "good bad dull fresh stale moving bright clumsy the film was plot very"
IDS = words_tokenizer().convert_tokens_to_ids(LONG.split())
STAY = {"head": IDS[:8], "tail": IDS[-8:], "both": IDS[:2] + IDS[-6:]}


@pytest.fixture
def rows(tmp_path: Path) -> TaskSettings:
    file = tmp_path / "rows.csv"
    lines = [f"{LONG},{label}" for label in ("no", "yes") * 20]
    file.write_text("\n".join(["text,label", *lines]) + "\n", encoding="utf-8")
    return TaskSettings(data=str(file))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_stock_bert(tmp_path / "bert", ["no", "yes"])


def saved_with(folder: Path, **changes: Any) -> Path:
    tokenizer = load_tokenizer(folder)
    save_cuts(tokenizer, Cuts(10, "head", 64)._replace(**changes))
    tokenizer.save_pretrained(folder)
    return folder


def config_of(folder: Path, **changes: Any) -> Path:
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | changes), encoding="utf-8")
    return folder


def first(data: Any) -> list[int]:
    return data.ids[data.offsets[0] : data.offsets[1]].tolist()


@pytest.mark.parametrize("truncation", ["head", "tail", "both"])
def test_every_reader_cuts_as_the_model_was_saved(model: Path, rows: TaskSettings, truncation: str) -> None:
    expected = [2, *STAY[truncation], 3]
    saved_with(model, truncation=truncation)
    net = load_with_head(model)
    scorer = Scorer(net, load_tokenizer(model), rows)
    recipe = standard_recipe(str(model), rows, "out", method={"name": "last-k", "keep_layers": 1})
    inputs = load_inputs(*prepared(recipe.model_copy(update={"fine_tune": "never"})))
    found = [
        scorer.validation, scorer.training_texts(), validation(model, rows)[1], _training_rows(model, rows),
        read_texts(model, Texts(Path(rows.data or ""))), *_rows(model, net, rows)[1:3],
        inputs.train, inputs.selection, inputs.validation,
    ]  # fmt: skip
    assert [first(data) for data in found] == [expected] * len(found)
    notes = evaluate(model, rows).notes
    assert inputs.cut() == [note.partition(": ")[2] for note in notes if note.startswith(f"{model}: ")]
    assert inputs.cut()[0].startswith("6 of 6 validation texts were cut at 10 tokens")

    predictor = Predictor(model, backend="torch")
    uncut = Predictor(model, backend="torch", max_length=40)
    assert predictor.max_length == 10
    words = dict(zip(IDS, LONG.split(), strict=True))
    assert predictor.predict([LONG]) == uncut.predict([" ".join(words[i] for i in STAY[truncation])])


def test_both_is_kept_for_pairs(model: Path) -> None:
    predictor = Predictor(saved_with(model, truncation="both"), backend="torch")
    short = Predictor(model, backend="torch", max_length=40)
    words = LONG.split()
    assert predictor.predict([LONG], ["good"]) == short.predict([" ".join(words[:2] + words[-4:])], ["good"])


def test_options_win(model: Path, rows: TaskSettings) -> None:
    saved_with(model, truncation="both")
    data = validation(model, rows.model_copy(update={"max_length": 8, "truncation": "tail"}))[1]
    assert first(data) == [2, *IDS[-6:], 3]


def test_without_saved_values_the_defaults_stay() -> None:
    tokenizer = words_tokenizer()
    assert cuts_of(TaskSettings(), tokenizer, 512) == Cuts(128, "head", 64)
    assert cuts_of(TaskSettings(), tokenizer, 100).max_length == 100
    tokenizer.model_max_length = 512
    assert cuts_of(TaskSettings(), tokenizer, 512).max_length == 512
    # What a bare encoder can take is not what a task needs.
    assert cuts_of(TaskSettings(), tokenizer, 512, has_head=False).max_length == 128


def test_a_tokenizer_that_cuts_on_the_left_is_read_so(model: Path, rows: TaskSettings) -> None:
    config_of(model, truncation_side="left", model_max_length=10)
    assert first(validation(model, rows)[1]) == [2, *STAY["tail"], 3]


def test_who_turns_the_side_afterwards_means_it(model: Path) -> None:
    config_of(saved_with(model, truncation="both"), truncation_side="left")
    assert cuts_of(TaskSettings(), load_tokenizer(model), 40).truncation == "tail"


def test_the_stride_is_kept(model: Path) -> None:
    assert Predictor(saved_with(model, stride=3), backend="torch").cuts.stride == 3


@pytest.mark.parametrize(
    "wrong", [{"trimformer": 3}, {"trimformer": {"truncation": "x"}}, {"trimformer": {"stride": -1}}]
)
def test_saved_values_that_mean_nothing(model: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(TrimformerError, match=r"trimformer in tokenizer_config\.json is .*: write a truncation"):
        cuts_of(TaskSettings(), load_tokenizer(config_of(model, **wrong)), 40)


def test_a_saved_length_without_room(model: Path) -> None:
    with pytest.raises(TrimformerError, match="is 3, which leaves no room for a text"):
        cuts_of(TaskSettings(), load_tokenizer(config_of(model, model_max_length=3)), 40)


def test_words_are_cut_on_the_side_that_is_asked_for(pieces: PreTrainedTokenizerFast) -> None:
    """A word whose first piece is cut off begins nowhere: its label is not moved to another piece."""
    examples = sentences("so so unable no")
    whole = tokenise(examples, pieces, 16)
    lengths = np.diff(whole["offsets"])[0]
    tail = tokenise(examples, pieces, int(lengths) - 3, "tail")
    assert tail["words"].tolist() == [-1, -1, *whole["words"].tolist()[5:]]
    assert int(tail["truncated"]) == 1
