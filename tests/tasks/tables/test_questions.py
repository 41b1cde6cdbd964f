"""Questions from files: what is read, and the message for what is wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tasks.helpers import CONTEXT, QUESTIONS, document, like
from trimformer.errors import TrimformerError
from trimformer.tasks.data import GoldAnswer
from trimformer.tasks.settings import TaskSettings
from trimformer.tasks.tables.questions import read_questions

Write = Callable[[str, str], Path]


def read(path: Path, **columns: str) -> Any:
    return read_questions(path, TaskSettings(**columns))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "questions", "first"),
    [
        ("squadshifts_new_wiki_v1.0.json.gz", 7938, "is there a delegate?"),
        ("tydiqa.goldp.en.train.json.gz", 3696, "When was quantum field theory developed?"),
    ],
)
def test_real_files(shared_data: Path, name: str, questions: int, first: str) -> None:
    examples = read(shared_data / "squad" / name)
    assert (len(examples), examples.texts[0]) == (questions, first)


def test_real_file_with_withheld_answers(shared_data: Path) -> None:
    with pytest.raises(
        TrimformerError, match=r"line 1 of .*answers\[0\] \(question 'english--\d+-2'\) is empty: write"
    ):
        read(shared_data / "squad" / "tydiqa.goldp.en.dev.json.gz")


def test_tables(tmp_path: Path, write: Write) -> None:
    """Answers as the datasets library has them, as SQuAD has them, and one plain answer."""
    import pyarrow
    import pyarrow.parquet

    right = [(GoldAnswer("The fox", 0),), (GoldAnswer("dog", 17), GoldAnswer("The dog", 13))]
    rows = [{"question": q["question"], "context": CONTEXT, "answers": q["answers"]} for q in QUESTIONS]
    parquet = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), parquet)
    for row, answers in zip(rows, right, strict=True):
        row["answers"] = {"text": [a.text for a in answers], "answer_start": [a.start for a in answers]}
    jsonl = write("a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    for path in (parquet, jsonl):
        examples = read(path)
        assert examples.labels == right
        assert examples.pairs[0] is examples.pairs[1]
    plain = write("a.csv", f"id,question,context,answer,answer_start\nx7,Who?,{CONTEXT},dog,17\n")
    assert read(plain).labels == [(GoldAnswer("dog", 17),)]
    renamed = write("b.tsv", f"q\tc\ta\tanswer_start\nWho?\t{CONTEXT}\tdog\t17\n")
    assert read(renamed, text="q", text_pair="c", label="a").labels == [(GoldAnswer("dog", 17),)]


def test_columns_are_of_tables_and_texts_are_whole(write: Write) -> None:
    path = write("a.json", json.dumps(document(*QUESTIONS)))
    with pytest.raises(TrimformerError, match=r"task.label names a column of a table, which .*a.json is not"):
        read(path, label="answer")
    half = write("b.json", json.dumps({"data": [{"paragraphs": [{"context": "\ud800", "qas": []}]}]}))
    with pytest.raises(
        TrimformerError, match=r"line 1 of .*b.json, .*context cannot be read, because half of a surrogate pair"
    ):
        read(half)


def changed(**fields: Any) -> dict[str, Any]:
    return document(QUESTIONS[0], {**QUESTIONS[1], **fields})


def answer(text: object, start: object) -> dict[str, Any]:
    return changed(answers=[{"text": text, "answer_start": start}])


SECOND = "data[0].paragraphs[0].qas[1]"
ANSWER = f"{SECOND}.answers[0]"


@pytest.mark.parametrize(
    ("value", "line", "message"),
    [
        ({"version": "1.1"}, 1, "has no 'data': add it"),
        (7, 1, "is not an object with 'data'"),
        ({"data": {}}, 2, "data is not a list"),
        ({"data": ["x"]}, 3, "data[0] is not an object with 'paragraphs'"),
        (document(context=7), 8, "data[0].paragraphs[0].context is not a text"),
        (document(), 0, "holds no questions"),
        (changed(question=None), 20, f"{SECOND} has no 'question'"),
        (changed(question=["a"]), 22, f"{SECOND}.question is not a text"),
        (changed(answers=None), 20, f"{SECOND} has no 'answers'"),
        (changed(answers="dog"), 23, f"{SECOND}.answers is not a list"),
        (changed(answers=["dog"]), 24, f"{ANSWER} is not an object with 'text'"),
        (changed(answers=[]), 20, f"{SECOND} (question 'q2') has no answer, which SQuAD 2.0 allows"),
        (changed(is_impossible=True), 20, f"{SECOND} (question 'q2') has no answer, which SQuAD 2.0 allows"),
        (answer("dog", None), 24, f"{ANSWER} has no 'answer_start'"),
        (answer("dog", "x"), 26, f"{ANSWER}.answer_start is not a whole number"),
        (answer("dog", -1), 26, f"{ANSWER}.answer_start is not a whole number"),
        (answer("dog", True), 26, f"{ANSWER}.answer_start is not a whole number"),
        (answer(" ", 3), 24, f"{ANSWER} (question 'q2') is empty"),
        (answer("dog", 16), 24, f"{ANSWER} (question 'q2') is the answer 'dog', which does not stand at character 16"),
        (answer("dog", 16), 24, "16 of the context, but only at 17: correct answer_start"),
        (answer("cat", 10**9), 24, "character 1000000000 of the context, but nowhere: copy the answer"),
        (answer("The fox ran." * 9, 0), 24, f"the answer '{('The fox ran.' * 9)[:60]}'…, which does not stand"),
    ],
)
def test_what_is_wrong_with_json(write: Write, value: Any, line: int, message: str) -> None:
    """The line is that of the value in an indented file; on one line the way to it and the question are named."""
    place = f"ine {line} of …a.json" if line else "a.json"
    with pytest.raises(TrimformerError, match=like(f"{place}…{message}")):
        read(write("a.json", json.dumps(value, indent=1)))
    with pytest.raises(TrimformerError, match=like(message)):
        read(write("b.json", json.dumps(value)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a.json is empty"),
        ("\n \n", "a.json is empty"),
        (
            '{"data": [\n  {"title": 1,\n "title": 2}]}',
            "a.json is not valid JSON at line 3 (the name 'title' stands twice",
        ),
        ('{"data": [\n  {"title": }', "a.json is not valid JSON at line 2 (Expecting value"),
        ('{"question": "a"}\n{"question": "b"}\n', "a.json has no column 'context'"),
        ('{"question": "a"\n{"question": "b"}\n', "call a file with one object per line .jsonl"),
        ("[]", "a.json has no rows"),
        ('{"data": ' + "[" * 200_000, "a.json is not valid JSON ("),
        ('{"other": [],\n "data": [\n {}]}', "line 3 of …a.json, data[0] has no 'paragraphs'"),
        ('{"a{": "]\\"", "data" :\n\n[ {"paragraphs":null} ] }', "line 3 of …a.json, data[0] has no 'paragraphs'"),
    ],
)
def test_broken_json(write: Write, text: str, message: str) -> None:
    with pytest.raises(TrimformerError, match=like(message)):
        read(write("a.json", text))


def table(**cells: Any) -> str:
    good = {"question": "Who?", "context": CONTEXT, "answers": {"text": ["dog"], "answer_start": [17]}}
    return json.dumps(good) + "\n\n" + json.dumps(good | cells) + "\n"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.jsonl", '{"question": "a", "context": "b"}', "a.jsonl has no column 'answers'"),
        ("a.jsonl", '{"text": "a", "label": 1}', "a.jsonl has no column 'question': name one of its own (text, label)"),
        ("a.csv", f"question,context,answer\nq,{CONTEXT},dog\n", "a.csv has no column 'answer_start'"),
        (
            "a.csv",
            f"question,context,answer,answer_start\nq,{CONTEXT},dog,\n",
            "line 2 of …, answer[0].answer_start is",
        ),
        ("a.jsonl", table(question=None), "Line 3 of …a.jsonl has no 'question'"),
        ("a.jsonl", table(context=[]), "line 3 of …a.jsonl, context is not a text"),
        ("a.jsonl", table(answers=None), "Line 3 of …a.jsonl has no 'answers'"),
        ("a.jsonl", table(answers={"text": ["dog"], "answer_start": []}), "line 3 of …, answers is not a list"),
        ("a.jsonl", table(answers={"text": [], "answer_start": []}), "Line 3 of …a.jsonl (question '1') has no answer"),
        (
            "a.jsonl",
            table(answers={"text": ["dog", "dog"], "answer_start": [17, 3]}),
            "line 3 of …, answers[1] (question '1') is the answer 'dog', which does not stand at character 3",
        ),
    ],
)
def test_what_is_wrong_with_tables(write: Write, name: str, text: str, message: str) -> None:
    with pytest.raises(TrimformerError, match=like(message)):
        read(write(name, text))
