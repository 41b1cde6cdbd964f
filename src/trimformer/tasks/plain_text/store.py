"""Texts tokenised once, as arrays on the disk that are read without being loaded; a cut tokenisation goes on."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from ...console import Ticker
from ...errors import TrimformerError, explain_write_errors
from ...files import atomic_file, cache_folder
from ...lock import hold
from ...work_files import read_work_file
from ..encoding.cache import fingerprint
from ..encoding.chunks import CHARACTERS, ROWS
from .reading import Text, Unit, texts
from .template import TEXTS, template

FORMAT = 2
"""Part of every folder's name: raise it when the arrays or their meaning change."""
SAVE_SECONDS = 5.0
ARRAYS: dict[str, Any] = {"ids": np.dtype(np.int32), "ends": np.dtype(np.int64), "hashes": np.dtype(np.uint64)}


@dataclass
class Progress:
    """How far the texts are read: the place in the file that is read, and what was counted.

    begun: for each file done, how many rows there were at its end, which is the number of the row that comes next.
    rest: tokens that do not fill a packed row yet. known: bytes of the arrays that belong to it.
    """

    begun: list[int] = field(default_factory=list)
    place: int = 0
    texts: int = 0
    tokens: int = 0
    unknown: int = 0
    rest: list[int] = field(default_factory=list)
    known: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ARRAYS, 0))
    whole: bool = False


@dataclass(frozen=True)
class Stored:
    """Rows laid end to end: row i is ``ids[ends[i - 1]:ends[i]]``, special tokens included.

    ids int32 (tokens,), ends int64 (n,), hashes uint64 (n,): equal rows have equal ones. begun: the numbers of the rows
    with which a file begins, but for the first one, and of the end. texts, tokens, unknown: how many were read; special
    tokens do not count.
    """

    ids: np.ndarray
    ends: np.ndarray
    hashes: np.ndarray
    begun: np.ndarray
    texts: int
    tokens: int
    unknown: int


def stored(
    files: Sequence[Path],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    *,
    packed: bool,
    column: str = "text",
    unit: Unit = "line",
) -> Stored:
    """The texts of these files as the tokenizer reads them, from the cache where they are there.

    A text that is too long gives several rows. packed: rows are filled up to ``max_length`` with one text after
    another, a separator between them. The folder is $TRIMFORMER_CACHE or ~/.cache/trimformer. Raises TrimformerError
    for files that cannot be read, where there is no text, and where another process tokenises them now.
    """
    folder = cache_folder() / f"plain-text-{_key(files, tokenizer, [max_length, packed, column, unit])}"
    with explain_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    remedy = f"delete the folder {folder}, and the texts are tokenised again"
    if not _progress(folder, remedy).whole:
        with hold(folder / "lock"):
            _Writer(folder, tokenizer, max_length, packed, _progress(folder, remedy)).write(files, column, unit)
    done = _progress(folder, remedy)
    if not done.known["ends"]:
        raise TrimformerError(f"There is no text in {', '.join(map(str, files))}: add some or name another file.")
    arrays = {name: np.memmap(folder / f"{name}.bin", dtype=kind, mode="r") for name, kind in ARRAYS.items()}
    if any(array.nbytes != done.known[name] for name, array in arrays.items()):
        raise TrimformerError(f"{folder} is damaged: {remedy}.")
    return Stored(**arrays, begun=np.array(done.begun), texts=done.texts, tokens=done.tokens, unknown=done.unknown)


class _Writer:
    def __init__(
        self, folder: Path, tokenizer: PreTrainedTokenizerBase, max_length: int, packed: bool, done: Progress
    ) -> None:
        self.folder, self.tokenizer, self.done, self.packed = folder, tokenizer, done, packed
        empty, _ = template(tokenizer, 1)
        at = empty.index(TEXTS[0])
        self.before, self.after = empty[:at], empty[at + 1 :]
        self.room = max_length - len(self.before) - len(self.after)
        self.unknown_id = tokenizer.unk_token_id

    def write(self, files: Sequence[Path], column: str, unit: Unit) -> None:
        self.files = {}
        with Ticker("Tokenising", len(files)) as tick:
            try:
                for name in ARRAYS:
                    path = self.folder / f"{name}.bin"
                    path.touch()
                    file = self.files[name] = path.open("r+b")
                    file.truncate(self.done.known[name])  # what was written after the last save is written again
                    file.seek(0, os.SEEK_END)
                saved = time.monotonic()
                for file_index, path in enumerate(files):
                    if file_index >= len(self.done.begun):
                        for part in _chunks(texts(path, column, unit, self.done.place)):
                            self._add([one.text for one in part])
                            self.done.place = part[-1].place
                            if time.monotonic() - saved > SAVE_SECONDS:
                                self._save()
                                saved = time.monotonic()
                        self.done.begun.append(self.done.known["ends"] // ARRAYS["ends"].itemsize)
                        self.done.place = 0
                    tick.advance()
                if self.done.rest:
                    self._rows([self.done.rest])
                    self.done.rest = []
                self.done.whole = True
                self._save()
            finally:
                for file in self.files.values():
                    file.close()

    def _add(self, part: list[str]) -> None:
        coded = self.tokenizer(part, add_special_tokens=False, return_attention_mask=False, verbose=False)
        pieces: list[list[int]] = [ids for ids in coded["input_ids"] if ids]
        self.done.texts += len(part)
        self.done.tokens += sum(map(len, pieces))
        self.done.unknown += sum(ids.count(self.unknown_id) for ids in pieces)
        if not self.packed:
            self._rows([ids[at : at + self.room] for ids in pieces for at in range(0, len(ids), self.room)])
            return
        rest = self.done.rest
        for ids in pieces:
            rest += [*self.after[:1], *ids] if rest else ids
        full = len(rest) // self.room * self.room
        self._rows([rest[at : at + self.room] for at in range(0, full, self.room)])
        self.done.rest = rest[full:]

    def _rows(self, rows: Sequence[list[int]]) -> None:
        if not rows:
            return
        arrays = [np.array([*self.before, *row, *self.after], dtype=np.int32) for row in rows]
        end = self.done.known["ids"] // 4
        values: dict[str, np.ndarray] = {
            "ids": np.concatenate(arrays),
            "ends": end + np.cumsum([len(row) for row in arrays], dtype=np.int64),
            "hashes": np.array([_hash(row) for row in arrays], dtype=np.uint64),
        }
        for name, array in values.items():
            with explain_write_errors(self.folder):
                self.files[name].write(array.astype(ARRAYS[name]).tobytes())
            self.done.known[name] += array.nbytes

    def _save(self) -> None:
        for array in self.files.values():
            array.flush()
            os.fsync(array.fileno())
        with atomic_file(self.folder / "progress.json") as file:
            file.write_text(json.dumps(asdict(self.done)), encoding="utf-8")


def _progress(folder: Path, remedy: str) -> Progress:
    file = folder / "progress.json"
    found: Any = read_work_file(file, Progress, remedy) if file.is_file() else Progress()
    return found if isinstance(found, Progress) else Progress(**found)


def _hash(row: np.ndarray) -> int:
    return int.from_bytes(hashlib.blake2b(row.tobytes(), digest_size=8).digest(), "little")


def _chunks(stream: Iterator[Text]) -> Iterator[list[Text]]:
    """As many texts as the tokenizer gets at a time."""
    part: list[Text] = []
    size = 0
    for one in stream:
        if part and (len(part) == ROWS or size + len(one.text) > CHARACTERS):
            yield part
            part, size = [], 0
        part.append(one)
        size += len(one.text)
    if part:
        yield part


def _key(files: Sequence[Path], tokenizer: PreTrainedTokenizerBase, how: list[Any]) -> str:
    """Of what is in the files, the tokenizer and the way of reading, so that nothing stale is ever read."""
    digest = hashlib.sha256(json.dumps([FORMAT, *how]).encode() + fingerprint(tokenizer))
    for path in files:
        try:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "blake2b").digest() + "".join(path.suffixes).encode())
        except OSError as error:
            raise TrimformerError(f"The file {path} cannot be read ({error.strerror}): correct its path.") from error
    return digest.hexdigest()[:32]
