"""An output file that is whole or not there, and that a cut run can go on with."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...errors import TrimformerError
from ...files import atomic_file, explain_write_errors
from ..predictor import model_files
from .labeller import Done, LabelJob
from .rows import Place


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
    def add(place: Place, done: Done) -> None:
        sys.stdout.write(done.lines.decode())
        sys.stdout.flush()

    yield add


@contextmanager
def new_file(out: Path) -> Iterator[Add]:
    """For a source that cannot be read twice: the file is whole or not there."""
    with atomic_file(out) as temporary, temporary.open("wb") as file:
        yield lambda place, done: file.write(done.lines)


class PartialFile:
    """``OUT.partial``, which becomes ``OUT`` when everything is in it, and beside it the progress as JSON.

    settings: what must be the same for the rest to fit the beginning. resume: go on with what is there.
    Raises TrimformerError where an unfinished output is there and ``resume`` is not set, and where it is set and there
    is none, or one of another job or input.
    """

    def __init__(self, out: Path, settings: dict[str, Any], resume: bool) -> None:
        self.out, self.settings = out, settings
        self.partial = out.with_name(f"{out.name}.partial")
        self.state = out.with_name(f"{out.name}.partial.json")
        self.progress = Progress()
        unfinished = self.partial.is_file() and self.state.is_file()
        if unfinished and not resume:
            raise TrimformerError(
                f"An unfinished output is in {self.partial}: go on with the same command and --resume, or delete it."
            )
        if resume and not unfinished:
            raise TrimformerError(f"There is no unfinished output {self.partial} to resume: run without --resume.")
        if resume:
            self.progress = self._saved()

    def _saved(self) -> Progress:
        saved = json.loads(self.state.read_text("utf-8"))
        changed = [name for name, value in self.settings.items() if saved["settings"].get(name) != value]
        if changed:
            raise TrimformerError(
                f"The unfinished output {self.partial} was begun with another {' and '.join(changed)}: "
                "give the same again, or delete it and run without --resume."
            )
        progress = Progress(**saved["progress"])
        if self.partial.stat().st_size < progress.written:
            raise TrimformerError(f"{self.partial} is shorter than it was: delete it and run without --resume.")
        return progress

    @contextmanager
    def open(self) -> Iterator[Add]:
        """Renames the file at the end. An error before the first piece is done leaves nothing behind."""
        with explain_write_errors(self.out):
            self.out.parent.mkdir(parents=True, exist_ok=True)
            try:
                with self.partial.open("r+b" if self.progress.written else "wb") as file:
                    file.truncate(self.progress.written)  # what was written last may not be a whole piece
                    file.seek(self.progress.written)

                    def add(place: Place, done: Done) -> None:
                        file.write(done.lines)
                        file.flush()
                        self._save(self.progress.after(place, done))

                    yield add
                self.partial.replace(self.out)
                self.state.unlink(missing_ok=True)
            finally:
                if not self.state.is_file():
                    self.partial.unlink(missing_ok=True)

    def _save(self, progress: Progress) -> None:
        self.progress = progress
        with atomic_file(self.state) as temporary:
            content = {"settings": self.settings, "progress": dataclasses.asdict(progress)}
            temporary.write_text(json.dumps(content), encoding="utf-8")


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
        "form of output": "json" if job.as_json else "plain",
    }
