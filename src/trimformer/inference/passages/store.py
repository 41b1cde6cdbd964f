"""A folder of passages: their texts, their tokens, and their states behind the layers that see each text by itself.

states.npy     (tokens, hidden), fp16 or fp32, mapped into memory: only what a question asks for is read from disk
ids.npy        int32 (tokens,);  chars.npy  int32 (tokens, 2): see ``tasks/encoding/passages.py``
offsets.npy    int64 (windows + 1,): tokens of a window;  starts.npy  int64 (passages + 1,): windows of a passage
texts.npy      uint8, all texts in UTF-8;  bounds.npy  int64 (passages + 1,): bytes of a text
digests.npy    uint64, of all texts, rising;  order.npy  int64, whose they are
passages.json  format, what the states were made by, precision, and the names of the passages
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import TrimformerError
from ...tasks.encoding.passages import Passages

ABOUT = "passages.json"
FORMAT = 1
PRECISIONS = {"fp16": np.float16, "fp32": np.float32}
SAID = {
    "split_layers": "for {theirs} layers that see each text by itself, and this model has {ours}",
    "passage_start": "with positions from {theirs} on, and this model numbers them from {ours} on",
    "hidden_size": "with states of {theirs} dimensions, and this model has {ours}",
    "weights": "by another model, whose lower layers differ",
    "tokenizer": "with another tokenizer",
    "max_length": "for rows of {theirs} tokens, and this model reads {ours}",
    "truncation": "with the {theirs} of long ones kept, and this model keeps the {ours}",
    "stride": "with windows that overlap by {theirs} tokens, and this model reads {ours}",
    "windows": "for another kind of task",
}
"""How passages were encoded, where that is not as a model needs them."""
REMEDY = "encode them again with this model (trimformer encode-passages)"


class PassageStore:
    """An opened folder of passages.

    Raises TrimformerError where it is none, is damaged, or was made by a newer release.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        file = self.folder / ABOUT
        if not file.is_file():
            raise TrimformerError(
                f"There is no {ABOUT} in {folder}: name a folder that trimformer encode-passages has made."
            )
        try:
            about = json.loads(file.read_text(encoding="utf-8"))
            if about["format"] > FORMAT:
                raise TrimformerError(
                    f"The passages in {folder} are of format {about['format']}, newer than the format {FORMAT} that "
                    "this trimformer reads: upgrade trimformer."
                )
            # Passages that say nothing of it were encoded when all were numbered from 0.
            self.made_by: dict[str, Any] = {"passage_start": 0, **about["made_by"]}
            self.names: list[str] = list(about["names"])
            self.precision: str = about["precision"]
            self.states, self.ids, self.chars, self.texts = (self._open(n) for n in ("states", "ids", "chars", "texts"))
            self.offsets, self.starts, self.bounds = (
                np.asarray(self._open(name)) for name in ("offsets", "starts", "bounds")
            )
            self.digests, self.order = self._open("digests"), self._open("order")
            tokens = {len(self.states), len(self.ids), len(self.chars), int(self.offsets[-1])}
            counts = {len(self.names), len(self.starts) - 1, len(self.bounds) - 1, len(self.digests), len(self.order)}
            if (len(tokens), len(counts), len(self.offsets) - 1) != (1, 1, int(self.starts[-1])):
                raise ValueError("files of different sizes")
        except (ValueError, KeyError, TypeError, OSError, EOFError) as error:
            raise TrimformerError(
                f"The passages in {folder} are not readable ({type(error).__name__}), they are damaged or cut short: "
                "encode them again (trimformer encode-passages)."
            ) from error

    def __len__(self) -> int:
        return len(self.names)

    def _open(self, name: str) -> np.ndarray:
        found: np.ndarray = np.load(self.folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        return found

    def require(self, ours: Mapping[str, Any]) -> None:
        """Raise TrimformerError that says what differs where a model makes other states. ours: by what it does."""
        for name, said in SAID.items():
            theirs = self.made_by.get(name)
            if theirs != ours[name]:
                what = said.format(theirs=theirs, ours=ours[name])
                raise TrimformerError(f"The passages in {self.folder} were encoded {what}: {REMEDY}.")

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The number of each passage by its name."""
        return {name: number for number, name in enumerate(self.names)}

    def find(self, wanted: str) -> int:
        """The number of the passage of this name, or else of this text; raises TrimformerError where it is neither."""
        found = self.numbers.get(wanted)
        return self._by_text(wanted) if found is None else found

    def text(self, number: int) -> str:
        """The text of a passage."""
        return bytes(self.texts[self.bounds[number] : self.bounds[number + 1]]).decode()

    def _by_text(self, text: str) -> int:
        digest = digest_of(text)
        for place in range(int(np.searchsorted(self.digests, digest)), len(self.digests)):
            if self.digests[place] != digest:
                break
            if self.text(number := int(self.order[place])) == text:
                return number
        shown = text if len(text) <= 60 else f"{text[:60]}…"
        raise TrimformerError(
            f"{shown!r} is neither the name nor the text of one of the {len(self):,} passages in {self.folder}: "
            "correct it, or encode that passage, too."
        )


def write_store(
    folder: Path, texts: Sequence[str], names: Sequence[str], read: Passages, made_by: dict[str, Any], precision: str
) -> np.memmap[Any, Any]:
    """Write all but the states, and give the array on disk that takes these, (tokens, hidden)."""
    coded = [text.encode() for text in texts]
    digests = np.array([digest_of(text) for text in texts], dtype=np.uint64)
    order = np.argsort(digests, kind="stable").astype(np.int64)
    arrays = {
        "ids": read.ids,
        "chars": read.chars,
        "offsets": read.offsets,
        "starts": read.starts,
        "texts": np.frombuffer(b"".join(coded), dtype=np.uint8),
        "bounds": np.cumsum([0, *map(len, coded)], dtype=np.int64),
        "digests": digests[order],
        "order": order,
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    about = {"format": FORMAT, "made_by": made_by, "precision": precision, "names": list(names)}
    (folder / ABOUT).write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")
    shape = (len(read.ids), made_by["hidden_size"])
    return np.lib.format.open_memmap(folder / "states.npy", "w+", PRECISIONS[precision], shape)


def digest_of(text: str) -> int:
    """64 bits that a text is looked up by."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
