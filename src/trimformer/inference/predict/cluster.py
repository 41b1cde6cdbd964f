"""Pieces labelled by actors on a Ray cluster, with Ray Data; every node reads model and source itself."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any

from ...cluster import connect, require_ray
from ...console import console
from ...errors import TrimformerError
from .labeller import Done, LabelJob, Labeller
from .rows import Piece, Place

BLOCKS = 4096
"""Most blocks of a data set: Ray keeps a note of each in the driver."""


def label_on_cluster(
    job: LabelJob, source: Path, pieces: Iterable[Piece], address: str, workers: int | None
) -> Generator[tuple[Place, Done], None, None]:
    """Pieces in order, labelled by ``workers`` actors of one core each (None = all cores of the cluster).

    address: as in :func:`trimformer.cluster.connect`. The driver only learns where the pieces stand, and streams the
    finished lines.

    Raises TrimformerError where ray is missing or there is no cluster, and for what a node cannot read.
    """
    require_ray()
    import ray.data

    places: list[Place] = []
    header = b""
    for piece in pieces:
        places.append(piece.place)
        header = piece.header
    if not places:
        return
    folder = Path(job.model)
    model = str(folder.resolve()) if folder.is_dir() else job.model
    job = dataclasses.replace(job, model=model, threads=1)
    connect(address)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        context = ray.data.DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False
        items = ray.data.from_items([place._asdict() for place in places], override_num_blocks=min(len(places), BLOCKS))
        labelled = items.map_batches(
            NodeLabeller,
            fn_constructor_args=(job, str(source.resolve()), header),
            batch_size=1,
            num_cpus=1,
            compute=ray.data.ActorPoolStrategy(size=workers or int(ray.cluster_resources().get("CPU", 1))),
        )
        nodes = set()
        for place, row in zip(places, labelled.iter_rows(), strict=True):
            if row["error"]:
                raise TrimformerError(row["error"])
            nodes.add(row["node"])
            yield place, Done(row["lines"], row["rows"], tuple(row["notes"].splitlines()))
        console.print(f"Labelled on {len(nodes)} node{'s' * (len(nodes) > 1)} of the cluster.")
    except ray.exceptions.RayError as error:
        raise TrimformerError(f"The Ray cluster gave up: {str(error).strip().splitlines()[-1]}") from error
    finally:
        ray.shutdown()


class NodeLabeller:
    """What an actor runs. A mistake goes back as a sentence: an exception would make Ray try again."""

    def __init__(self, job: LabelJob, source: str, header: bytes) -> None:
        self.job, self.source, self.header = job, source, header
        self.labeller: Labeller | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """batch: one :class:`Place`, as columns."""
        import ray

        start, end, line = (int(batch[name][0]) for name in ("start", "end", "line"))
        done, mistake = Done(b"", 0), ""
        try:
            self.labeller = self.labeller or Labeller(self.job)
            with open(self.source, "rb") as file:
                file.seek(start)
                done = self.labeller(Piece(file.read(end - start), line, start, self.header))
        except (TrimformerError, OSError) as error:
            mistake = str(error)
        node = ray.get_runtime_context().get_node_id()
        notes = "\n".join(done.notes)
        return {"lines": [done.lines], "rows": [done.rows], "notes": [notes], "error": [mistake], "node": [node]}
