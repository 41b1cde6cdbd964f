"""What several tests of tasks need: patterns of messages, SQuAD documents, sentences."""

from __future__ import annotations

import re
from typing import Any

from trimformer.tasks.data import Examples

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "un", "##able", "##ly", "no", "so", "."]
"""The vocabulary of the fixture `pieces`."""

CONTEXT = "The fox ran. The dog slept."
QUESTIONS = [
    {"id": "q1", "question": "Who ran?", "answers": [{"text": "The fox", "answer_start": 0}]},
    {
        "id": "q2",
        "question": "Who slept?",
        "answers": [{"text": "dog", "answer_start": 17}, {"text": "The dog", "answer_start": 13}],
    },
]


def like(message: str) -> str:
    """The pattern of a message in which '…' stands for anything, such as the folder of a file."""
    return re.escape(message).replace("…", ".*")


def document(*questions: dict[str, Any], context: object = CONTEXT) -> dict[str, Any]:
    return {"version": "1.1", "data": [{"title": "t", "paragraphs": [{"context": context, "qas": list(questions)}]}]}


def sentences(*texts: str) -> Examples:
    """Words by spaces; every word has its own label: 10, 11 … in the first sentence, 20, 21 … in the second."""
    words = [tuple(text.split(" ")) for text in texts]
    return Examples(words, None, [tuple(range(10 * n, 10 * n + len(row))) for n, row in enumerate(words, 1)])
