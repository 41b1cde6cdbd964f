"""Fixtures for all tests."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# Results are compared bit by bit with what the CPU computes: a GPU is seen by those alone who show it.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")


@pytest.fixture(scope="session", autouse=True)
def _quick() -> Iterator[None]:
    """What is timed here is timed to see that it runs; how files are written is the subject of some tests only.

    A process has one precision, and answers are those of fp32 also where the processor has bfloat16.
    """
    from tests.exporter import PLACE, quickly_traced

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PLACE, quickly_traced)
        patch.setattr("trimformer.pipeline.accelerator.has_native_bf16", lambda: False)
        patch.setattr("trimformer.measure.bench.latency.MAX_ROUNDS", 2)
        patch.setattr("trimformer.measure.bench.latency.TURN_SECONDS", 0.0)
        yield


@pytest.fixture(scope="module", autouse=True)
def _own_precision() -> Iterator[None]:
    """A run leaves no precision behind for the tests of other modules.

    What imports left behind is not looked at again: each stage of a run collects garbage, which takes a second else.
    """
    from accelerate.state import AcceleratorState

    gc.collect()
    gc.freeze()
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="module")
def unsmoothed() -> Iterator[None]:
    """Outliers stay where they are, so that int8 collapses and what comes after that can be seen."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trimformer.deploy.writers.smoothed", lambda source, *_: source)
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with the real evaluation data: $TRIMFORMER_DATA, or `shared/data` beside the repository."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("TRIMFORMER_DATA") or default)
    if not (folder / "glue").is_dir():
        pytest.skip(f"no evaluation data in {folder}; set TRIMFORMER_DATA to its folder")
    return folder


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder: ``model`` (weights, tokenizer), ``onnx`` (both files, tokenizer, config) and ``openvino``."""
    from tests.wordmodels import tiny_classifier, tiny_tokenizer
    from trimformer.deploy.export import export

    folder = tmp_path_factory.mktemp("run")
    model = tiny_classifier(num_labels=3)
    model.save_pretrained(folder / "model")
    tiny_tokenizer().save_pretrained(folder / "model")
    export(model, folder / "onnx", tokenizer=tiny_tokenizer())
    export(model, folder / "openvino", "openvino", ["fp32"])
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


@pytest.fixture
def users_exporter() -> Iterator[None]:
    """Files are written as users get them, by torch's own exporter."""
    from tests.exporter import own_exporter

    with own_exporter():
        yield
