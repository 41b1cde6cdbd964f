"""Compute the lower layers' states of passages once, and keep them."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...console import Ticker
from ...errors import TrimformerError
from ...files import new_folder, require_new_folder
from ...saved.tokenizer_check import check_ids
from ...tasks.cuts import saved_cuts
from ...tasks.encoding.encoded import padding_id
from ...tasks.encoding.passages import read_passages, require_segments
from ...tasks.kinds import KINDS
from ...tasks.tables.files import ENDINGS, PLAIN, read_table
from ...tasks.tables.rows import text_column
from ..batches import batches
from ..reading import read_folder
from .identity import made_by, require_split
from .store import PRECISIONS, write_store


@dataclasses.dataclass(frozen=True)
class Encoding:
    """What was written. windows: pieces of passages; bytes: of the states; truncated: passages that were cut."""

    passages: int
    windows: int
    tokens: int
    bytes: int
    truncated: int


def encode_passages(
    model: str | Path,
    texts: Sequence[str],
    out: str | Path,
    *,
    names: Sequence[str] | None = None,
    precision: str = "fp16",
    threads: int | None = None,
) -> Encoding:
    """Write the states of passages behind the layers that see each text by itself into a new folder.

    model: folder of a split model with a head. names: of the passages, all different; None: their numbers from 0.
    precision: ``fp16``, half the size of ``fp32`` and rounded to about 3 digits. The folder appears when it is whole.

    Raises TrimformerError for a model that is not split, names that are taken twice, a folder that exists, and a disk
    that is too small.
    """
    out = Path(out)
    require_new_folder(out)
    if precision not in PRECISIONS:
        raise TrimformerError(f"Unknown precision {precision!r}: use one of {', '.join(PRECISIONS)}.")
    names = [str(number) for number in range(len(texts))] if names is None else list(names)
    _check(texts, names)
    config, kind, tokenizer = read_folder(model, with_pytorch=True)
    require_split(config, model)
    require_segments(tokenizer)
    from ..runtimes.torch_model import TorchModelSession

    halves = TorchModelSession(model, threads)
    cuts = saved_cuts(tokenizer, config.max_tokens)
    about = made_by(config, kind, halves.digest, tokenizer, cuts)
    read = read_passages(texts, tokenizer, cuts, windows=KINDS[kind].per_token)
    second = np.ones(len(read.ids), dtype=np.uint8)
    check_ids(read.ids, second, config)
    pad, lengths = padding_id(tokenizer), np.diff(read.offsets)
    size = len(read.ids) * config.hidden_size * np.dtype(PRECISIONS[precision]).itemsize
    with new_folder(out) as folder, Ticker("Passages", len(lengths)) as tick:
        if size > shutil.disk_usage(folder).free:
            raise TrimformerError(
                f"The states of these passages take {size / 2**20:,.0f} MiB, for which the disk of {out} has no room: "
                "free some space, or encode fewer."
            )
        states = write_store(folder, texts, names, read, about, precision)
        for rows in batches(lengths, None):
            real = np.arange(lengths[rows].max()) < lengths[rows][:, None]
            at = np.where(real, read.offsets[rows][:, None] + np.arange(real.shape[1]), 0)
            mask = real.astype(np.int64)
            found = halves.lower(
                {
                    "input_ids": np.where(real, read.ids[at], pad).astype(np.int64),
                    "attention_mask": mask,
                    "token_type_ids": mask,
                }
            ).astype(states.dtype)
            if not np.isfinite(found[real]).all():
                raise TrimformerError(
                    f"The states of a passage are not finite in {precision}: use fp32, or train the model anew if they "
                    "are not finite there, either."
                )
            for row, own, length in zip(rows, found, lengths[rows], strict=True):
                states[read.offsets[row] : read.offsets[row + 1]] = own[:length]
            tick.advance(len(rows))
        states.flush()
    return Encoding(len(texts), len(lengths), len(read.ids), size, read.truncated)


def read_file(file: Path, text: str | None, name: str | None) -> tuple[list[str], list[str] | None]:
    """The passages of a file, and their names; one passage a line, or a table with a column of texts.

    text, name: columns; None: ``text``, and ``id`` where there is one, else numbers from 0. Raises TrimformerError as
    the readers of tables do.
    """
    table = read_table(file, (*ENDINGS, *PLAIN))
    names = name or ("id" if "id" in table.names else None)
    return text_column(table, text or "text"), None if names is None else text_column(table, names)


def _check(texts: Sequence[str], names: Sequence[str]) -> None:
    if not texts:
        raise TrimformerError("There are no passages to encode: name a file that has some.")
    if len(names) != len(texts):
        raise TrimformerError(f"Got {len(texts)} passages and {len(names)} names: give one name for each passage.")
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise TrimformerError(f"Two passages are called {name!r}: give each a name of its own.")
        seen.add(name)
