"""Passages whose states are kept: the same answers as without, from the right cache alone."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from tests.command import sentence, trimformer
from tests.tinymodel import BAD, FILLER, GOOD, words_tokenizer
from tests.wordmodels import randomized, tiny_config
from trimformer import TrimformerError
from trimformer.encoder.checkpoints.load import with_labels
from trimformer.encoder.model.heads import head_class
from trimformer.inference.batches import inputs
from trimformer.inference.passages.encode import encode_passages
from trimformer.inference.passages.store import ABOUT
from trimformer.inference.predict.labeller import LabelJob
from trimformer.inference.predict.output import fingerprint
from trimformer.inference.predict.rows import format_of
from trimformer.inference.predictor import Predictor
from trimformer.methods.structure.deformer import split

WORDS = [*GOOD, *BAD, *FILLER]
PASSAGES = [" ".join(WORDS[(i * 3 + j * j) % len(WORDS)] for j in range(4 + 5 * i)) for i in range(5)]
NAMES = [f"p{i}" for i in range(5)]
ROWS = [(" ".join(WORDS[(i + j) % len(WORDS)] for j in range(1 + i % 6)), NAMES[i * 3 % 5]) for i in range(9)]
KINDS = {"classification": ["no", "yes"], "regression": ["score"], "ranking": [], "spans": []}


def write(
    folder: Path, kind: Any, *, layers: int = 2, start: int = 5, seed: float = 0, max_length: int = 64, **others: Any
) -> Path:
    config = with_labels(tiny_config(("full", "mean", "full", "full"), **others), KINDS[kind], kind)
    model = split(randomized(head_class(kind), config), layers, start)
    model.encoder.embeddings.word.weight.data += seed
    model.save_pretrained(folder)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words_tokenizer().backend_tokenizer, pad_token="[PAD]", unk_token="[UNK]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )  # fmt: skip
    tokenizer.model_max_length = max_length
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("reader") / "model", "spans")


@pytest.fixture(scope="module")
def kept(reader: Path) -> Path:
    encode_passages(reader, PASSAGES, reader.parent / "kept", names=NAMES, precision="fp32")
    return reader.parent / "kept"


def numbers(answer: Any) -> Any:
    return {name: pytest.approx(v, abs=1e-5) if isinstance(v, float) else v for name, v in vars(answer).items()}


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_those_without_kept_states(tmp_path: Path, kind: str) -> None:
    model = write(tmp_path / "model", kind)
    encode_passages(model, PASSAGES, tmp_path / "kept", names=NAMES, precision="fp32")
    cached, plain = Predictor(model, passages=tmp_path / "kept"), Predictor(model)
    texts = dict(zip(NAMES, PASSAGES, strict=True))
    wanted = plain.predict([row[0] for row in ROWS], [texts[row[1]] for row in ROWS])
    for rows in (ROWS, [(question, texts[name]) for question, name in ROWS]):  # by name, and by text
        for batch in (None, 1, 4):
            found = list(cached.stream(rows, batch))
            for ours, theirs in zip(found, wanted, strict=True):
                assert {n: v for n, v in vars(ours).items() if n != "scores"} == {
                    n: v for n, v in numbers(theirs).items() if n != "scores"
                }


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("max_length", [64, 24])
def test_kept_states_give_what_the_whole_model_gives(tmp_path: Path, max_length: int, precision: str) -> None:
    model = write(tmp_path / "model", "spans", max_length=max_length)
    done = encode_passages(model, PASSAGES, tmp_path / "kept", names=NAMES, precision=precision)
    assert (done.windows > done.passages) == (max_length == 24)  # long passages lie there in windows
    cached = Predictor(model, passages=tmp_path / "kept")
    assert cached.passages is not None
    data = cached.passages.tokenise("spans", ROWS, cached.tokenizer, cached.cuts)
    assert data.lengths.max() <= max_length
    rows = np.arange(len(data))
    ours, whole = cached.passages.run(data, rows), cached.session.run(inputs(data, rows))
    real = inputs(data, rows)["attention_mask"].astype(bool)
    difference = np.abs(ours - whole)[real].max()
    assert difference < 1e-5 if precision == "fp32" else 0 < difference < 2e-2
    assert cached.predict([row[0] for row in ROWS], [row[1] for row in ROWS])


def test_a_question_is_cut_whatever_the_passage(reader: Path, kept: Path) -> None:
    cached = Predictor(reader, passages=kept)
    assert cached.passages is not None
    data = cached.passages.tokenise("spans", [("good " * 99, "p0")], cached.tokenizer, cached.cuts)
    assert data.truncated == 1
    assert data.firsts.tolist() == [34]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": 0.1}, "by another model, whose lower layers differ"),
        ({"layers": 1}, "for 2 layers that see each text by itself, and this model has 1"),
        ({"start": 0}, "with positions from 5 on, and this model numbers them from 0 on"),
        ({"max_length": 40}, "for rows of 64 tokens, and this model reads 40"),
        ({"hidden_act": "relu"}, "by another model, whose lower layers differ"),
    ],
    ids=str,
)
def test_states_of_another_model_are_refused(tmp_path: Path, kept: Path, changes: dict[str, Any], said: str) -> None:
    other = write(tmp_path / "model", "spans", **changes)
    with pytest.raises(TrimformerError, match=f"were encoded {said}: encode them again"):
        Predictor(other, passages=kept)


def test_passages_of_before_there_was_a_start_are_numbered_from_0(tmp_path: Path, kept: Path) -> None:
    model = write(tmp_path / "model", "spans", start=0)
    encode_passages(model, PASSAGES, tmp_path / "kept", names=NAMES)
    file = tmp_path / "kept" / ABOUT
    about = json.loads(file.read_text())
    assert about["made_by"].pop("passage_start") == 0
    file.write_text(json.dumps(about))
    assert Predictor(model, passages=tmp_path / "kept").predict("good", "p0")
    with pytest.raises(TrimformerError, match="with positions from 0 on, and this model numbers them from 5 on"):
        Predictor(write(tmp_path / "other", "spans"), passages=tmp_path / "kept")


def test_other_upper_layers_can_read_them(tmp_path: Path, reader: Path, kept: Path) -> None:
    from trimformer import load

    other: Any = load(reader)
    other.encoder.layers[3].ffn_out.weight.data += 1
    other.save_pretrained(tmp_path)
    for file in reader.glob("token*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert Predictor(tmp_path, passages=kept).predict("good", "p0")


def test_what_is_no_passage_is_refused(reader: Path, kept: Path) -> None:
    cached = Predictor(reader, passages=kept)
    with pytest.raises(TrimformerError, match="'p9' is neither the name nor the text of one of the 5 passages"):
        cached.predict("good", "p9")
    with pytest.raises(TrimformerError, match="Beside each question a passage is asked for"):
        cached.predict("good")


def test_what_is_no_folder_of_passages_is_refused(tmp_path: Path, reader: Path, kept: Path) -> None:
    with pytest.raises(TrimformerError, match="name a folder that trimformer encode-passages has made"):
        Predictor(reader, passages=tmp_path)
    for name, size in itertools.product(("states.npy", "offsets.npy", ABOUT), (0, 40)):
        broken = tmp_path / f"{name}-{size}"
        broken.mkdir()
        for file in kept.iterdir():
            (broken / file.name).write_bytes(file.read_bytes()[: size if file.name == name else None])
        with pytest.raises(TrimformerError, match="they are damaged or cut short"):
            Predictor(reader, passages=broken)
    other = tmp_path / "other"  # a file of another folder
    encode_passages(reader, PASSAGES[:2], other, names=NAMES[:2])
    (other / "states.npy").write_bytes((kept / "states.npy").read_bytes())
    with pytest.raises(TrimformerError, match="they are damaged or cut short"):
        Predictor(reader, passages=other)
    about = json.loads((kept / ABOUT).read_text())
    (broken / ABOUT).write_text(json.dumps(about | {"format": 99}))
    with pytest.raises(TrimformerError, match="newer than the format 1"):
        Predictor(reader, passages=broken)


def test_a_model_that_is_not_split_has_nothing_to_keep(tmp_path: Path) -> None:
    model = head_class("spans")(with_labels(tiny_config(), [], "spans"))
    model.save_pretrained(tmp_path / "model")
    words_tokenizer().save_pretrained(tmp_path / "model")
    with pytest.raises(TrimformerError, match="split it first"):
        encode_passages(tmp_path / "model", PASSAGES, tmp_path / "kept")
    with pytest.raises(TrimformerError, match="split it first"):
        Predictor(tmp_path / "model", passages=tmp_path)
    assert not (tmp_path / "kept").exists()


def test_names_are_told_apart(tmp_path: Path, reader: Path) -> None:
    with pytest.raises(TrimformerError, match="Two passages are called 'a'"):
        encode_passages(reader, ["good", "bad"], tmp_path / "kept", names=["a", "a"])
    with pytest.raises(TrimformerError, match="no passages"):
        encode_passages(reader, [], tmp_path / "kept")
    with pytest.raises(TrimformerError, match="Unknown precision"):
        encode_passages(reader, ["good"], tmp_path / "kept", precision="int8")


def test_an_output_goes_on_with_the_same_passages_alone(tmp_path: Path, reader: Path, kept: Path) -> None:
    asked = tmp_path / "asked.csv"
    asked.write_text("question,context\ngood,p0\n")
    form = format_of(str(asked), "spans", None, None, asked)
    encode_passages(reader, PASSAGES, tmp_path / "others", names=NAMES)
    places = [None, str(kept), str(tmp_path / "others")]
    jobs = [LabelJob(str(reader), form, "torch", None, False, passages=place) for place in places]
    prints = [fingerprint(job, asked) for job in jobs]
    assert len({str(one) for one in prints}) == 3
    assert fingerprint(jobs[1], asked) == prints[1]


def test_the_command(tmp_path: Path, reader: Path) -> None:
    lines = [json.dumps({"id": name, "body": text}) for name, text in zip(NAMES, PASSAGES, strict=True)]
    (tmp_path / "wiki.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "asked.csv").write_text("question,passage\n" + "".join(f"{q},{p}\n" for q, p in ROWS))
    done = trimformer("encode-passages", reader, tmp_path / "wiki.jsonl", "--text", "body", "--out", tmp_path / "wiki")
    assert done.code == 0, done.err
    assert "5 passages of" in done.err
    asked = ["predict", reader, tmp_path / "asked.csv", "--text-pair", "passage", "--passages", tmp_path / "wiki"]
    found = [json.loads(line) for line in trimformer(*asked, "--json").out.splitlines()]
    texts = dict(zip(NAMES, PASSAGES, strict=True))
    assert [row["answer"] for row in found] == [
        texts[name][row["start"] : row["end"]] for row, (_, name) in zip(found, ROWS, strict=True)
    ]
    again = trimformer("encode-passages", reader, tmp_path / "wiki.jsonl", "--text", "body", "--out", tmp_path / "wiki")
    assert "exists and is not empty" in sentence(again)
    out = tmp_path / "answers.txt"
    assert trimformer(*asked, "--out", out).code == 0
    assert len(out.read_text().splitlines()) == len(ROWS)
    asked[-1] = tmp_path / "nowhere"
    assert "There is no passages.json" in sentence(trimformer(*asked))
