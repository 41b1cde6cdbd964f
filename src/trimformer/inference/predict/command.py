"""The command: opens source and output, chooses who labels, and writes what comes back, in order."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, BinaryIO

from ...console import console
from ...cores import usable_cores
from ...errors import TrimformerError
from ...files import claim, is_stream
from ...saved.exits import executed_words
from ..reading import kind_of
from .cluster import label_on_cluster
from .labeller import LabelJob
from .meter import Meter
from .output import PartialFile, Progress, fingerprint, into, new_file, standard_output
from .rows import format_of, split
from .vectors import holds_vectors
from .workers import label_here

WORKER_BYTES = 2**20
"""Input that makes one more worker worth while: opening the model takes it some seconds."""


def predict_file(
    model: str,
    file: str,
    text: str | None = None,
    text_pair: str | None = None,
    *,
    out: Path | None = None,
    resume: bool = False,
    force: bool = False,
    backend: Any = "auto",
    batch_size: int | None = None,
    as_json: bool = False,
    workers: int | None = None,
    ray: str | None = None,
    passages: Path | None = None,
) -> None:
    """Write one line for each row of ``file`` (``-`` is standard input), in order, to ``out`` or standard output.

    A line is the answer alone, or with ``as_json`` an object with its scores; a file that ends in .npy or .parquet gets
    vectors as numbers. workers: processes, None = as many as the size of the file deserves. ray: address of a Ray
    cluster, whose nodes read model and file themselves; workers: its actors. resume: go on with the unfinished ``out``.
    force: replace ``out`` where it exists. passages: folder of encoded passages, whose names or texts stand beside the
    questions.

    Raises TrimformerError for every mistake in model, options, rows or files.
    """
    piped = file == "-"
    source = Path(file)
    if piped and sys.stdin is None:
        raise TrimformerError("Standard input is closed: name a file.")
    if not piped and source.is_dir():
        raise TrimformerError(f"{file} is a folder: name a file in it.")
    if not piped and not source.is_file():
        raise TrimformerError(f"There is no file {file} to predict.")
    if resume and (piped or out is None or is_stream(out)):
        raise TrimformerError(
            "Only a file whose answers go to a file (--out) can be resumed: name both, or leave --resume out."
        )
    if ray is not None and piped:
        raise TrimformerError("The nodes of a cluster read the file themselves: name a file, or leave --ray out.")
    size = None if piped else source.stat().st_size
    kind = kind_of(model)
    form = format_of("standard input" if piped else file, kind, text, text_pair, None if piped else source)
    if form.note:
        console.print(f"Note: {form.note}.", markup=False, soft_wrap=True)
    job = LabelJob(
        model, form, backend, batch_size, as_json,
        as_vectors=holds_vectors(out, kind, as_json), passages=None if passages is None else str(passages),
    )  # fmt: skip
    with ExitStack() as stack:
        stack.enter_context(claim(out, force=force, inputs=["/dev/stdin" if piped else source]))
        stream: BinaryIO = sys.stdin.buffer if piped else stack.enter_context(source.open("rb"))
        begun = Progress()
        if out is None:
            add = stack.enter_context(standard_output())
        elif is_stream(out):
            add = stack.enter_context(into(out))
        elif piped:
            add = stack.enter_context(new_file(out, force, job.as_vectors))
        else:
            partial = PartialFile(out, fingerprint(job, source), resume, force, job.as_vectors)
            begun = partial.progress
            add = stack.enter_context(partial.open())
        pieces = split(stream, form.ending, begun.start, begun.line)
        if ray is not None:
            labelled = label_on_cluster(job, source, pieces, ray, workers)
        else:
            labelled = label_here(job, pieces, workers or worth(size))
        stack.enter_context(closing(labelled))
        meter = stack.enter_context(Meter(size, begun.start))
        rows, said, executed = begun.rows, False, Counter[int]()
        for place, done in labelled:
            add(place, done)
            for note in () if said else done.notes:
                console.print(note, markup=False, soft_wrap=True)
            said = said or bool(done.notes)
            rows += done.rows
            executed.update(dict(enumerate(done.executed or [])))
            meter.update(place.end, rows)
    if executed.total():
        counts = [executed[place] for place in range(len(executed))]
        console.print(executed_words(counts), markup=False, soft_wrap=True)


def worth(size: int | None) -> int:
    """How many processes an input of `size` bytes deserves; one where the size is not known."""
    return max(1, min(usable_cores(), (size or 0) // WORKER_BYTES))
