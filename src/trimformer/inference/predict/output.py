"""An output file that is whole or not there, and that a cut run can go on with."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...errors import TrimformerError, explain_write_errors
from ...files import atomic_file, followed, open_stream, require_new_file, save_text
from ...inference.predict.labeller import LabelJob
from ..predictor import model_files
from .labeller import Done
from .rows import Place
from .vectors import give_form


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a job is. rows: written. start, line: where the next piece of the source begins. written: bytes."""

    rows: int = 0
    start: int = 0
    line: int = 1
    written: int = 0

    def after(self, place: Place, done: Done) -> Progress:
        return Progress(self.rows + done.rows, place.end, place.next_line, self.written + len(done.lines))


Add = Callable[[Place, Done], object]
"""Takes the finished pieces, in order."""


@contextmanager
def standard_output() -> Iterator[Add]:
    """Raises TrimformerError where it is closed."""
    if sys.stdout is None:
        raise TrimformerError("Standard output is closed: name a file for the lines with --out.")

    def add(place: Place, done: Done) -> None:
        stream = getattr(sys.stdout, "buffer", None)
        if stream is None:  # a program that calls us has put its own in the place
            sys.stdout.write(done.lines.decode("utf-8"))
        else:
            stream.write(done.lines)  # UTF-8, whatever the terminal is set to
        sys.stdout.flush()

    yield add


@contextmanager
def into(stream: Path) -> Iterator[Add]:
    """For a pipe or a device, which takes the lines as they come."""

    def add(place: Place, done: Done) -> None:
        file.write(done.lines)
        file.flush()

    with explain_write_errors(stream), open_stream(stream) as file:
        yield add


@contextmanager
def new_file(out: Path, force: bool, vectors: bool = False) -> Iterator[Add]:
    """For a source that cannot be read twice: the file is whole or not there. vectors: see :class:`PartialFile`."""
    rows = 0
    with atomic_file(out) as temporary, tempfile.TemporaryDirectory(dir=temporary.parent, prefix=".bare-") as scratch:
        written = Path(scratch) / "bare" if vectors else temporary

        def add(place: Place, done: Done) -> None:
            nonlocal rows
            file.write(done.lines)
            rows += done.rows

        with written.open("wb") as file:
            yield add
        if vectors:
            give_form(written, rows, temporary, out.suffix.lower())
        require_new_file(out, force)


class PartialFile:
    """``OUT.partial``, which becomes ``OUT`` when everything is in it, and beside it the progress as JSON.

    settings: what must be the same for the rest to fit the beginning. resume: go on with what is there. force: ``OUT``
    may be replaced. vectors: what is added are bare numbers, which at the end get the form that the ending says. Nobody
    else works on ``OUT`` meanwhile, which is for the caller to claim.

    Raises TrimformerError where an unfinished output is there and ``resume`` is not set, where it is set and there
    is none, or one of another job or input, and where files of these names are not an unfinished output.
    """

    def __init__(self, out: Path, settings: dict[str, Any], resume: bool, force: bool, vectors: bool = False) -> None:
        self.out, self.settings, self.resume, self.force = followed(out), settings, resume, force
        self.partial, self.vectors = partial_file(out), vectors
        self.state = self.partial.with_name(f"{self.partial.name}.json")
        self.progress = Progress()
        begun = self._saved()
        if resume:
            self._go_on(begun)
        elif os.path.lexists(self.partial) and begun:
            raise TrimformerError(
                f"An unfinished output is in {self.partial}: go on with the same command and --resume, or delete it."
            )
        elif os.path.lexists(self.partial):
            raise TrimformerError(f"{self.partial} is in the way: rename it, because {out} is first written there.")

    def _saved(self) -> tuple[dict[str, Any], Progress] | None:
        """Settings and progress of what was begun before."""
        if not self.state.is_file():
            return None
        try:
            saved = json.loads(self.state.read_text("utf-8"))
            progress = Progress(**saved["progress"])
            if not all(type(value) is int and value >= 0 for value in dataclasses.astuple(progress)):
                raise ValueError(progress)
            return dict(saved["settings"]), progress
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise TrimformerError(
                f"{self.state} does not say how far an unfinished output is: rename it, or delete it if it is damaged."
            ) from error

    def _go_on(self, begun: tuple[dict[str, Any], Progress] | None) -> None:
        size = self.partial.stat().st_size if self.partial.is_file() else None
        if begun is None or (size is None and begun[1] != Progress()):
            raise TrimformerError(f"There is no unfinished output {self.partial} to resume: run without --resume.")
        settings, self.progress = begun
        changed = [name for name, value in self.settings.items() if settings.get(name) != value]
        if changed:
            raise TrimformerError(
                f"The unfinished output {self.partial} was begun with another {' and '.join(changed)}: "
                "give the same again, or delete it and run without --resume."
            )
        if (size or 0) < self.progress.written:
            raise TrimformerError(f"{self.partial} is shorter than it was: delete it and run without --resume.")

    @contextmanager
    def open(self) -> Iterator[Add]:
        """Renames the file at the end. A mistake before the first piece is done leaves nothing behind."""
        with explain_write_errors(self.out):
            if not self.resume:
                self._save(Progress())
            try:
                with self.partial.open("ab" if self.resume else "xb") as file:
                    file.truncate(self.progress.written)  # what was written last may not be a whole piece

                    def add(place: Place, done: Done) -> None:
                        file.write(done.lines)
                        file.flush()
                        self._save(self.progress.after(place, done))

                    yield add
                require_new_file(self.out, self.force)
                if self.vectors:
                    with atomic_file(self.out) as whole:
                        give_form(self.partial, self.progress.rows, whole, self.out.suffix.lower())
                    self.partial.unlink()
                else:
                    self.partial.replace(self.out)
                self.state.unlink()
            except Exception:  # after Ctrl-C, too, the run can be resumed
                if self.progress == Progress():
                    self.partial.unlink(missing_ok=True)
                    self.state.unlink(missing_ok=True)
                raise

    def _save(self, progress: Progress) -> None:
        self.progress = progress
        save_text(self.state, json.dumps({"settings": self.settings, "progress": dataclasses.asdict(progress)}))


def partial_file(out: Path) -> Path:
    """Where lines are written until all are there: beside the file that a link leads to."""
    file = followed(out)
    return file.with_name(f"{file.name}.partial")


def fingerprint(job: LabelJob, source: Path) -> dict[str, Any]:
    """What must be the same for the rest of the output to fit its beginning."""
    digest = hashlib.sha256()
    for file in model_files(job.model, job.backend):
        with file.open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    stat = source.stat()
    return {
        "model": digest.hexdigest(),
        "input": [str(source.resolve()), stat.st_size, stat.st_mtime_ns],
        "columns": list(job.format.columns),
        "backend": job.backend,
        "batch size": job.batch_size,
        "form of output": "json" if job.as_json else "vectors" if job.as_vectors else "plain",
        **({} if job.passages is None else {"passages": _passages(Path(job.passages))}),
    }


def _passages(folder: Path) -> list[Any]:
    """What tells one folder of passages from another."""
    found: list[Any] = [str(folder.resolve())]
    for file in sorted(folder.glob("*")):
        stat = file.stat()
        found += [file.name, stat.st_size, stat.st_mtime_ns]
    return found
