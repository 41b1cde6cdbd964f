"""Fixtures for all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# Results are compared bit by bit with what the CPU computes: a GPU is seen by those alone who show it.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with the real evaluation data: $TRIMFORMER_DATA, or `shared/data` beside the repository."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("TRIMFORMER_DATA") or default)
    if not (folder / "glue").is_dir():
        pytest.skip(f"no evaluation data in {folder}; set TRIMFORMER_DATA to its folder")
    return folder


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of a Ray cluster that is started here, of two nodes with one core each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        from ray.cluster_utils import Cluster

        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        cluster.add_node(num_cpus=1)
        yield cluster.address
        cluster.shutdown()
