"""Questions, contexts and answers from one file: SQuAD v1.1 JSON or a table."""

from __future__ import annotations

from pathlib import Path

from ...errors import TrimformerError
from ..data import Examples, GoldAnswer
from ..settings import TaskSettings
from .files import Table, cell_text, ending, json_form, read_table, read_text
from .nodes import Node, read_json, row_node

ENDINGS = (".json", ".json.gz")
"""Of SQuAD JSON; tables may have them, too."""

SHOWN = 60
"""Characters of an answer that a message shows."""


def is_squad(path: Path) -> bool:
    """Whether a file is one JSON object with paragraphs, as SQuAD is, and no table."""
    return _is_object(path) and '"paragraphs"' in read_text(path)


def _is_object(path: Path) -> bool:
    return ending(path) == "json" and path.is_file() and json_form(read_text(path)) == "object"


def read_questions(path: Path, settings: TaskSettings) -> Examples:
    """The questions of a file, in its order; those on one paragraph share its context.

    SQuAD JSON has them as data[].paragraphs[].qas[]. Tables have the columns question, context and either answers, as
    the datasets library writes them ({"text": [...], "answer_start": [...]}), or answer and answer_start; `text`,
    `text_pair` and `label` of the settings name other columns for question, context and answers. Messages name a
    question by its id, or by its number from 0.

    Raises TrimformerError, with file, line and question, for what is missing or of the wrong type, an answer that is
    not in its context, and questions without an answer, which SQuAD 2.0 has.
    """
    if _is_object(path):
        for field in ("text", "text_pair", "label"):
            if getattr(settings, field) is not None:
                raise TrimformerError(
                    f"The setting task.{field} names a column of a table, which {path} is not: remove it."
                )
        return _from_json(path)
    return from_table(read_table(path), settings)


def from_table(table: Table, settings: TaskSettings) -> Examples:
    """The questions of a table; arguments and errors are those of `read_questions`."""
    label = settings.label or next((name for name in ("answers", "answer") if name in table.names), "answers")
    names = {"question": settings.text or "question", "context": settings.text_pair or "context", "answers": label}
    columns = {key: table.column(name) for key, name in names.items()}
    ids = table.column("id") if "id" in table.names else [None] * len(table.rows)
    starts = table.column("answer_start") if any(isinstance(cell, str) for cell in columns["answers"]) else None
    rows = []
    contexts: dict[str, str] = {}
    for row, name in enumerate(ids):
        cells: dict[str, object] = {names[key]: columns[key][row] for key in names}
        answers = columns["answers"][row]
        if isinstance(answers, str) and starts is not None:
            cells[label] = [{"text": answers, "answer_start": starts[row]}]
        elif isinstance(answers, dict):
            cells[label] = _turned(answers)
        node = row_node(table, row, cells | {"id": name})
        context = node.text(names["context"])
        # One text object for all questions on it, as in SQuAD JSON.
        rows.append(_row(node, names["question"], label, contexts.setdefault(context, context), row))
    return _examples(rows)


def _from_json(path: Path) -> Examples:
    rows: list[tuple[str, str, tuple[GoldAnswer, ...]]] = []
    for article in read_json(path).items("data"):
        for paragraph in article.items("paragraphs"):
            context = paragraph.text("context")
            for question in paragraph.items("qas"):
                rows.append(_row(question, "question", "answers", context, len(rows)))
    if not rows:
        raise TrimformerError(f"The file {path} holds no questions: add some or name another file.")
    return _examples(rows)


def _examples(rows: list[tuple[str, str, tuple[GoldAnswer, ...]]]) -> Examples:
    questions, contexts, answers = (list(column) for column in zip(*rows, strict=True))
    return Examples(questions, contexts, answers)


def _row(node: Node, question: str, answers: str, context: str, number: int) -> tuple[str, str, tuple[GoldAnswer, ...]]:
    name = str(number)
    if node.has("id"):
        name = cell_text(node.field("id").value) or name
    text = node.text(question)
    impossible = node.has("is_impossible") and node.field("is_impossible").value is True
    found = [] if impossible else node.items(answers)
    if not found:
        raise node.error(
            f"(question '{name}') has no answer, which SQuAD 2.0 allows and this task does not: remove such questions."
        )
    return text, context, tuple(_answer(answer, context, name) for answer in found)


def _answer(node: Node, context: str, question: str) -> GoldAnswer:
    answer = GoldAnswer(node.text("text"), node.count("answer_start"))
    text, start = answer
    if not text.strip():
        raise node.error(f"(question '{question}') is empty: write the answer as it stands in the context.")
    if not context.startswith(text, start):
        at = context.find(text)
        place = f"only at {at}: correct answer_start." if at >= 0 else "nowhere: copy the answer from the context."
        more = "…" if len(text) > SHOWN else ""
        raise node.error(
            f"(question '{question}') is the answer {text[:SHOWN]!r}{more}, which does not stand at character {start} "
            f"of the context, but {place}"
        )
    return answer


def _turned(answers: dict[str, object]) -> object:
    """{"text": [...], "answer_start": [...]} as a list of objects; anything else stays, to be complained about."""
    texts, starts = answers.get("text"), answers.get("answer_start")
    if not isinstance(texts, list) or not isinstance(starts, list) or len(texts) != len(starts):
        return answers
    return [{"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=True)]
