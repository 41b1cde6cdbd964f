"""Predict from a model folder, in PyTorch or from an exported file, for a list of texts or an endless stream."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from ..errors import TrimformerError
from ..saved.folder import resolve
from ..saved.tokenizer_check import check_ids, reading_notes, some_texts
from ..tasks.cuts import saved_cuts
from ..tasks.encoding.encoded import Encoded
from ..tasks.encoding.passages import require_segments
from ..tasks.kinds import KINDS
from ..tasks.kinds.answers import AnyAnswer
from .batches import Row, batches, inputs, tokenise
from .passages.identity import made_by, require_split
from .passages.reader import Asked, Halves, PassageReader
from .passages.store import PassageStore
from .reading import exits_in, read_folder
from .runtimes.backends import FILE_BACKENDS, file_in, open_backend, parts
from .runtimes.exits import executed_of
from .runtimes.session import Session

BACKENDS = ("auto", "torch", *FILE_BACKENDS)
WINDOW = 4096
"""Rows that are read ahead and sorted by length together: no padding to speak of is left, and memory stays small."""
WINDOW_OF_TOKENS = 512
"""The same where the model answers for every token."""


class Predictor:
    """A model with a task head loaded from a folder, ready to predict; several threads may use it at the same time.

    ``executed`` counts the layers that texts went through, where the model has exits; else it is None.

    folder: model folder (or hub id) with config.json, tokenizer and weights; exported files are looked for in it, in
        its subfolder ``onnx``, ``openvino`` or ``torch`` and, if it is called ``model``, in that folder beside it, as a
        run leaves them. Weights are read by the ``torch`` backend only.
    backend: ``torch`` or a name of ``FILE_BACKENDS``; ``auto`` takes ``model.onnx`` where there is one, else
        OpenVINO's ``model.xml``, else ``torch``. Other precisions change the numbers a little and are taken only when
        asked for.
    threads: for the chosen backend; None = as the backend likes. max_length: longest input in tokens (longer
        texts are cut); None = as long as the tokenizer says (a run saves the length that it was scored at).
    passages: folder of ``trimformer encode-passages``; rows are then couples of a question and the name or the text of
        a passage in it, whose states in the lower layers are read and not computed.

    Raises TrimformerError for a folder without the files needed, a damaged file, or a model without a task
    head.
    """

    def __init__(
        self,
        folder: str | Path,
        backend: str = "auto",
        threads: int | None = None,
        max_length: int | None = None,
        passages: str | Path | None = None,
    ) -> None:
        path = self._folder = resolve(folder)
        self.backend, file = _choose(path, backend)
        self.config, self.kind, self.tokenizer = (
            read_folder(folder, with_pytorch=True, files=_backends_in(path)) if file is None else read_folder(folder)
        )
        if self.kind == "masked-lm":
            raise TrimformerError(
                f"The model in {folder} finds masked tokens and answers no questions: fine-tune it on a task first "
                "(trimformer compress)."
            )
        self._tokenizing = threading.Lock()  # a fast tokenizer cannot be told its limits while it works
        if self.config.split_layers:
            require_segments(self.tokenizer)
        self.threads = threads
        self.cuts = saved_cuts(self.tokenizer, self.config.max_tokens, max_length)
        self.session: Session = self._opened(folder) if file is None else open_backend(file, self.backend, threads)
        if self.session.output != "logits":
            raise TrimformerError(f"The model in {folder} has no task head to predict with: fine-tune it first.")
        self.executed = executed_of(self.session, self.config)
        self.passages = None if passages is None else self._reader(passages)

    def _opened(self, folder: str | Path) -> Session:
        from .runtimes.torch_model import TorchModelSession  # the only one that needs PyTorch

        return TorchModelSession(folder, self.threads)

    def _reader(self, passages: str | Path) -> PassageReader:
        require_split(self.config, self._folder)
        store, halves = PassageStore(passages), cast(Halves, self.session)  # whatever runs a split model
        store.require(made_by(self.config, self.kind, halves.digest, self.tokenizer, self.cuts))
        return PassageReader(store, halves)

    @property
    def max_length(self) -> int:
        """Tokens of the longest input that is not cut."""
        return self.cuts.max_length

    def predict(
        self,
        texts: str | Sequence[str | list[str]],
        pairs: str | Sequence[str] | None = None,
        batch_size: int | None = None,
    ) -> list[AnyAnswer]:
        """Predict for texts, or for (text, pair) couples; in the order given.

        texts: of a model that tags words, the words of each sentence (or the sentence, divided at white space); of a
        model that answers questions, the questions, and their contexts in ``pairs``. A plain string is one text.
        Raises TrimformerError as :meth:`stream`.
        """
        texts = [texts] if isinstance(texts, str) else texts
        pairs = [pairs] if isinstance(pairs, str) else pairs
        if pairs is not None and len(pairs) != len(texts):
            raise TrimformerError(f"Got {len(texts)} texts and {len(pairs)} pairs: give one pair for each text.")
        rows: Iterable[Any] = texts if pairs is None else zip(texts, pairs, strict=True)
        return list(self.stream(rows, batch_size))

    def stream(self, rows: Iterable[Row], batch_size: int | None = None) -> Iterator[AnyAnswer]:
        """Predict one row after another, in order, reading ahead at most 4096 (512 where words are tagged or
        questions answered), whatever the number of rows.

        rows: texts, (text, pair) couples, or lists of words; all of one form. batch_size: rows in a forward pass;
        None = as many as have 512 tokens together, which is about the fastest on CPUs. Batches hold texts of about the
        same length. Raises TrimformerError for rows that the tokenizer cannot read and logits that are not finite.
        """
        for data, logits in self._windows(rows, batch_size):
            yield from KINDS[self.kind].answers(data, logits, self.config.label_names)

    def vectors(self, texts: Iterable[str], batch_size: int | None = None) -> np.ndarray:
        """The vectors of an embedding model as one array, float32 (texts, size); raises TrimformerError as
        :meth:`stream`, and for other models.
        """
        if self.kind != "embedding":
            raise TrimformerError(f"This model answers with {self.kind} and not with vectors: use predict.")
        found = [logits for _, logits in self._windows([texts] if isinstance(texts, str) else texts, batch_size)]
        return np.concatenate(found) if found else np.zeros((0, 0), dtype=np.float32)

    def _windows(self, rows: Iterable[Row], batch_size: int | None) -> Iterator[tuple[Encoded, np.ndarray]]:
        """Rows that were read ahead, with their logits."""
        if batch_size is not None and batch_size < 1:
            raise TrimformerError(f"The batch size must be at least 1, got {batch_size}.")
        iterator = iter(rows)
        while window := list(itertools.islice(iterator, WINDOW_OF_TOKENS if self._per_token else WINDOW)):
            _check(window)
            read = tokenise if self.passages is None else self.passages.tokenise
            with self._tokenizing:
                data = read(self.kind, window, self.tokenizer, self.cuts)
            check_ids(data.ids, data.types, self.config)
            yield data, self._logits(data, batch_size)

    def reading_notes(self, rows: Sequence[Row]) -> list[str]:
        """What is odd about how the tokenizer reads the first of these rows, see :func:`reading_notes`."""
        with self._tokenizing:
            return reading_notes(self.tokenizer, self._folder, some_texts(rows))

    @property
    def _per_token(self) -> bool:
        return KINDS[self.kind].per_token

    def _logits(self, data: Encoded, batch_size: int | None) -> np.ndarray:
        """(rows, labels) or (tokens, labels), laid end to end as the rows of ``data``."""
        found: dict[int, np.ndarray] = {}
        for rows in batches(data.lengths, batch_size):
            found |= dict(zip(rows.tolist(), self._answer(data, rows), strict=True))
        in_order = [found[row] for row in range(len(data))]
        if self._per_token:
            logits = np.concatenate([row[:length] for row, length in zip(in_order, data.lengths, strict=True)])
        else:
            logits = np.stack(in_order)
        if not np.isfinite(logits).all():
            raise TrimformerError(
                "The model answers with numbers that are not finite (NaN or infinite), which mean nothing: its weights "
                "are damaged, or its training went wrong."
            )
        return logits

    def _answer(self, data: Encoded, rows: np.ndarray) -> np.ndarray:
        """The logits of some rows."""
        if self.passages is not None and isinstance(data, Asked):
            return self.passages.run(data, rows)
        return self.session.run(inputs(data, rows))


def _check(rows: Sequence[Any]) -> None:
    """Raises TrimformerError for rows that are, or hold, something else than text, such as None or NaN."""
    for row in rows:
        for part in row if isinstance(row, tuple | list) else [row]:
            if not isinstance(part, str):
                raise TrimformerError(
                    f"A row holds {part!r} ({type(part).__name__}) where a text is expected: leave out what is "
                    "missing, and give numbers as text."
                )


def model_files(folder: str | Path, backend: str) -> list[Path]:
    """The files on which the answers of a :class:`Predictor` depend."""
    path = resolve(folder)
    _, file = _choose(path, backend)
    weights = parts(file) if file is not None else sorted(path.glob("*.safetensors"))
    read = [file for ending in ("json", "txt", "model") for file in sorted(path.glob(f"*.{ending}"))]
    return [file for file in (*read, *weights) if file.is_file()]


def _choose(path: Path, backend: str) -> tuple[str, Path | None]:
    """The backend that is meant, and its file (None for torch)."""
    if backend not in BACKENDS:
        raise TrimformerError(f"Unknown backend {backend!r}: use one of {', '.join(BACKENDS)}.")
    exits = exits_in(path)
    if backend == "auto":
        backend = next((name for name in ("onnx", "openvino") if _find(path, name, exits)), "torch")
    if backend == "torch":
        return backend, None
    return backend, _find(path, backend, exits) or file_in(path, backend, exits)


def _backends_in(folder: Path) -> list[str]:
    """The back-ends for which there is a file."""
    exits = exits_in(folder)
    return [name for name in FILE_BACKENDS if _find(folder, name, exits)]


def _find(folder: Path, backend: str, exits: dict[str, Any] | None) -> Path | None:
    """The file in the model folder, in the runtime's folder below it, or beside it in the folder of a run.

    exits: those that config.json names.
    """
    wanted = FILE_BACKENDS[backend]
    places = [folder, folder / wanted.folder]
    folder = folder.resolve()
    if folder.name == "model":  # beside a folder of another name lies the export of who knows which model
        places.append(folder.parent / wanted.folder)
    return next((file for place in places if (file := file_in(place, backend, exits)).is_file()), None)
