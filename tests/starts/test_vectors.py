"""Students that are no Transformers: a BiLSTM and a CNN on the word vectors of the teacher or of a file."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from tests.learning import toy_task
from tests.models import padded_batch, tiny
from tests.tinymodel import words_tokenizer, write_csv, write_stock_bert
from trimformer import TrimformerError, cost, load
from trimformer.encoder.checkpoints.load import Checkpoint, load_tokenizer
from trimformer.pipeline.run import run
from trimformer.recipe.reading import parse
from trimformer.starts import STARTS, Origin, Origins
from trimformer.starts.vectors import fitted
from trimformer.starts.vectors import words_tokenizer as tokenizer_of

STUDENTS: dict[str, dict[str, Any]] = {
    "bilstm": {"units": 6, "classifier": 5},
    "cnn": {"hidden": 12, "operations": ["conv3", "max-pool", "dilated3"]},
}
every_student = pytest.mark.parametrize("name", STUDENTS)


def origins_of(folder: Path, family: str) -> Origins:
    """A dense model of a family in a folder."""
    dense = tiny(2, family=family, labels=2)
    dense.save_pretrained(folder / "dense")
    origin = Origin(dense.config, folder=folder / "dense")
    return Origins(Checkpoint(dense.config, {}, None, "given"), words_tokenizer(), False, toy_task(), origin, origin)


def start(folder: Path, name: str, *, family: str = "bert", **settings: Any) -> Any:
    return STARTS[name](STARTS[name].Settings(**STUDENTS[name] | settings), origins_of(folder, family))


def glove(path: Path, rows: str = "the 1 0 0 0\ngood 0 1 0 0\nbad 0 0 2 0\n. 0 0 0 1\n") -> str:
    path.write_text(rows, encoding="utf-8")
    return str(path)


@every_student
@pytest.mark.parametrize("family", ["bert", "deberta-v2", "modernbert", "albert", "mpnet"])
def test_a_student_of_every_family_reads_what_its_teacher_reads(tmp_path: Path, name: str, family: str) -> None:
    found = start(tmp_path, name, family=family)
    model = found.model()
    assert (found.own_tokenizer, found.tokenizer(), found.new_head) == (False, None, True)
    assert found.config.shapes == model.config.shapes
    assert (model.config.layer_kind, model.config.hidden_size) == (name, 12)
    batch = padded_batch(tiny(2, family=family))
    assert model(**batch).logits.shape == (4, 2)
    assert cost(model).params == sum(weight.numel() for weight in model.parameters())


@every_student
def test_words_begin_with_the_teachers_vectors_by_pca(tmp_path: Path, name: str) -> None:
    found = start(tmp_path, name)
    table = found.origins.dense.model().get_input_embeddings().weight
    model = found.model()
    torch.testing.assert_close(model.get_input_embeddings().weight, fitted(table.detach(), 12))
    wider = start(tmp_path, name, **({"units": 10} if name == "bilstm" else {"hidden": 20})).model()
    assert torch.equal(wider.get_input_embeddings().weight, table)
    assert (wider.config.embedding_size, wider.config.hidden_size) == (16, 20)


def test_pca_keeps_all_that_lies_in_a_plane() -> None:
    torch.manual_seed(0)
    plane = torch.randn(30, 2) @ torch.randn(2, 6)
    reduced = fitted(plane - plane.mean(0), 2)
    torch.testing.assert_close(torch.pdist(reduced), torch.pdist(plane), atol=1e-4, rtol=1e-4)


@every_student
def test_vectors_of_a_file_come_with_a_tokenizer_of_its_words(tmp_path: Path, name: str) -> None:
    found = start(tmp_path, name, vectors=glove(tmp_path / "glove.txt"))
    assert found.own_tokenizer
    model, tokenizer = found.model(), found.tokenizer()
    assert tokenizer.tokenize("The good film.") == ["the", "good", "[UNK]", "."]
    ids = tokenizer("bad", "good")["input_ids"]
    assert tokenizer.convert_ids_to_tokens(ids) == ["[CLS]", "bad", "[SEP]", "good", "[SEP]"]
    table = model.get_input_embeddings().weight
    assert table.shape == (8, 4)
    assert table[ids[1]].tolist() == [0, 0, 2, 0]
    torch.testing.assert_close(table[1], torch.tensor([0.25, 0.25, 0.5, 0.25]))  # an unknown word is the mean
    assert found.weights()["vectors"].shape == (4, 4)
    assert model.config.pad_token_id == tokenizer.pad_token_id == 0


def test_words_in_capitals_stay_so_where_the_file_has_any() -> None:
    assert tokenizer_of(["Paris", "is"]).tokenize("Paris is") == ["Paris", "is"]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("the 1 2\ngood 1 2 3\n", "Line 2 of the word vectors .* is not a word and 2 numbers, as the first one is"),
        ("the 1 2\ngood 1\n", "Line 2 of the word vectors"),
        ("the 1 2\ngood 1 x\n", "Line 2 of the word vectors"),
        ("", "have no word"),
    ],
)
def test_a_ragged_file_is_refused_before_any_work(tmp_path: Path, rows: str, said: str) -> None:
    with pytest.raises(TrimformerError, match=said):
        _ = start(tmp_path, "bilstm", vectors=glove(tmp_path / "glove.txt", rows)).config


def test_an_unknown_operation_is_named() -> None:
    with pytest.raises(ValueError, match="unknown operation 'conv4', use some of conv3"):
        STARTS["cnn"].Settings(operations=["conv4"])


@every_student
def test_padding_inside_a_batch_changes_no_answer(tmp_path: Path, name: str) -> None:
    model = start(tmp_path, name).model().double()
    batch = padded_batch(model)
    with torch.no_grad():
        together = model(**batch).logits
        for row, length in enumerate(batch["attention_mask"].sum(1).tolist()):
            alone = model(batch["input_ids"][row : row + 1, :length]).logits[0]
            torch.testing.assert_close(alone, together[row], atol=1e-10, rtol=0)


@every_student
def test_padding_before_or_inside_a_text_changes_no_answer(tmp_path: Path, name: str) -> None:
    model = start(tmp_path, name).model().double()
    batch = padded_batch(model)
    ids, mask = batch["input_ids"], batch["attention_mask"]
    left = torch.stack([row.roll(int((1 - real).sum())) for row, real in zip(ids, mask, strict=True)])
    with torch.no_grad():
        right = model(input_ids=ids, attention_mask=mask).logits
        turned = model(input_ids=left, attention_mask=mask.flip(1)).logits
    torch.testing.assert_close(turned, right, atol=1e-10, rtol=0)


def test_the_way_back_begins_at_the_last_real_token(tmp_path: Path) -> None:
    model = start(tmp_path, "bilstm").model()
    layer = model.encoder.layers[0]
    x, mask = torch.randn(2, 5, 12), torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]])
    both = torch.nn.LSTM(12, 6, batch_first=True, bidirectional=True)
    both.load_state_dict(
        {
            name + suffix: weight
            for suffix, way in (("", layer.ahead), ("_reverse", layer.back))
            for name, weight in way.state_dict().items()
        }
    )
    with torch.no_grad():
        packed = torch.nn.utils.rnn.pack_padded_sequence(x, mask.sum(1), batch_first=True)
        expected = torch.nn.utils.rnn.pad_packed_sequence(both(packed)[0], batch_first=True)[0]
        torch.testing.assert_close(layer.read(x, mask)[mask.bool()], expected[mask.bool()])


@pytest.mark.parametrize("vectors", ["teacher", "glove.txt.gz"])
def test_students_learn_from_their_teacher_and_load_as_any_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vectors: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_stock_bert(tmp_path / "bert")
    write_csv(tmp_path / "data.csv")
    words = ["good", "bright", "moving", "bad", "dull", "stale", "the", "film", "was"]
    rows = "".join(f"{word} {i / 9} {i % 3} {i % 2}\n" for i, word in enumerate(words))
    (tmp_path / "glove.txt.gz").write_bytes(gzip.compress(rows.encode()))
    training = {"epochs": 1, "batch_size": 16, "learning_rate": 1e-3}
    stages = [
        {
            "name": name,
            "method": {"name": "finetune"},
            "start": {"name": name, "vectors": vectors} | settings,
            "objective": {"logits": 1.0},
            "training": training,
        }
        for name, settings in STUDENTS.items()
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
    report = run(parse(content, "x"))
    assert report.method == "BiLSTM of 6 units + CNN of conv3, max-pool, dilated3, 12 wide"
    auto = AutoModelForSequenceClassification.from_pretrained("out/model").eval()
    batch = load_tokenizer("out/model")(["the good film", "bad"], padding=True, return_tensors="pt")
    with torch.no_grad():
        assert torch.equal(auto(**batch).logits, load("out/model")(**batch).logits)
