"""Workers of a search on the nodes of a Ray cluster."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from ...cluster import connect
from ...console import console
from ...errors import TrimformerError


@contextlib.contextmanager
def workers_on_nodes(address: str, out: Path, work: Callable[[Path], object]) -> Iterator[Callable[[], None]]:
    """One on every node but this one, where the search itself trains; none outlives the block.

    address: as in :func:`trimformer.cluster.connect`. work: what each of them does with ``out``; a function that its
    node can import. What is given says which of them have left with a mistake.
    """
    ray = connect(address)
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    def say() -> None:
        left, _ = ray.wait(working, num_returns=len(working), timeout=0) if working else ([], [])
        for one in left:
            working.remove(one)
            try:
                mistake = ray.get(one)
            except ray.exceptions.RayError as error:
                mistake = str(error).strip().splitlines()[-1]
            if mistake:
                console.print(f"A worker has left: {mistake}", markup=False, soft_wrap=True)

    try:
        here = ray.get_runtime_context().get_node_id()
        others = [node for node in ray.nodes() if node["Alive"] and node["NodeID"] != here]
        working = []
        for node in others:
            has = node["Resources"]
            task = ray.remote(_work).options(
                scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
                num_cpus=has.get("CPU", 0),  # or it would get one thread
                num_gpus=min(1, has.get("GPU", 0)),  # or it would see none
                max_retries=0,
            )
            working.append(task.remote(work, str(out), os.getcwd()))
        console.print(f"Workers on {len(others)} other node{'s' * (len(others) != 1)} of the cluster")
        yield say
        say()
    finally:
        ray.shutdown()


def _work(work: Callable[[Path], object], out: str, folder: str) -> str:
    """What a node runs, in the folder that relative names in the recipe begin at; a mistake goes back as a sentence."""
    try:
        os.chdir(folder)
        work(Path(out))
    except (TrimformerError, OSError) as error:
        return str(error)
    return ""
