"""What a client asks: the body of a request as rows for the model, or one sentence that says what is wrong with it."""

from __future__ import annotations

import dataclasses
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ...saved.kinds import Kind
from ...tasks.kinds import KINDS
from ..batches import Row


class Refused(Exception):
    """A request that is not answered. code: of HTTP. sentence: for the client."""

    def __init__(self, code: int, sentence: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.code, self.sentence, self.headers = code, sentence, headers


@dataclasses.dataclass(frozen=True)
class Limits:
    """What one request may hold: bytes of its body, texts, and characters of a text and its pair together.

    Words count as one sentence.
    """

    body: int = 2**20
    texts: int = 256
    characters: int = 20_000


# A list ends at its first mistake: a body of a million wrong numbers would else cost seconds of messages.
Words = Annotated[list[str], Field(title="Words", fail_fast=True)]


class Question(BaseModel):
    """Texts to answer, all at once or one alone."""

    model_config = ConfigDict(
        extra="forbid", strict=True, json_schema_extra={"examples": [{"texts": ["a fine film", "a waste of time"]}]}
    )

    texts: list[str | Words] = Field(
        fail_fast=True,
        description="Texts; questions, of a model that finds answers; sentences or lists of words, of one that tags.",
    )
    pairs: Annotated[list[str], Field(fail_fast=True)] | None = Field(
        None, description="The second text of each; the contexts, of a model that finds answers."
    )


def rows_of(body: bytes, kind: Kind, limits: Limits) -> list[Row]:
    """The rows that a body asks about. Raises Refused: 400 for what is not JSON, 422 for what the model cannot read."""
    try:
        question = Question.model_validate_json(body)
    except ValidationError as error:
        raise _invalid(error) from error
    texts, pairs = question.texts, question.pairs
    if len(texts) > limits.texts:
        raise Refused(422, f"{len(texts)} texts are too many for one request: send at most {limits.texts}.")
    words, (_, context) = KINDS[kind].words, KINDS[kind].columns
    if words and pairs is not None:
        raise Refused(422, "This model tags words and reads no pairs: leave pairs out.")
    if KINDS[kind].one_text and pairs is not None:
        raise Refused(422, "This model gives a vector for one text at a time: leave pairs out.")
    if context is not None and pairs is None:
        raise Refused(422, "This model answers questions: give their contexts as pairs.")
    if pairs is not None and len(pairs) != len(texts):
        raise Refused(422, f"Got {len(texts)} texts and {len(pairs)} pairs: give one pair for each text.")
    rows: list[Row] = []
    for number, text in enumerate(texts):
        pair = pairs[number] if pairs is not None else ""
        if isinstance(text, str):
            rows.append(text if pairs is None else (text, pair))
        elif words:
            rows.append(text)
        else:
            raise Refused(422, f"texts[{number}] is a list of words, which only a model that tags words reads.")
        size = len(text if isinstance(text, str) else " ".join(text)) + len(pair)
        if size > limits.characters:
            raise Refused(422, f"texts[{number}] has {size:,} characters: send at most {limits.characters:,}.")
    return rows


def _invalid(invalid: ValidationError) -> Refused:
    errors = invalid.errors(include_url=False, include_context=False, include_input=False)
    error = max(errors, key=lambda one: len(one["loc"]))  # of "no text" and "no list of words", that which fits better
    message = error["msg"]
    if error["type"] == "json_invalid":
        return Refused(400, f"The body is not valid JSON ({message.removeprefix('Invalid JSON: ')}).")
    steps = [*error["loc"][:2], *error["loc"][3:]]  # the third names the form that was tried
    place = "".join(f"[{step}]" if isinstance(step, int) else step for step in steps)
    if error["type"] == "extra_forbidden":
        return Refused(422, f"{place} is not known: send texts, and pairs where the model reads two.")
    if error["type"] == "missing":
        return Refused(422, f'{place} is missing: send {{"texts": ["…"]}}.')
    return Refused(422, f"{place or 'The body'}: {message[0].lower()}{message[1:]}.")
