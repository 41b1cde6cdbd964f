"""benchmarks/serve.py: what counts as an answer."""

from __future__ import annotations

import asyncio
import importlib.util
from pathlib import Path

import pytest

from .conftest import Stub, running

FILE = Path(__file__).parents[3] / "benchmarks" / "serve.py"


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("serve_benchmark", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_refusals_are_no_answers(benchmark) -> None:
    with running(Stub()) as client:
        found = asyncio.run(benchmark.ask(f"{client.base_url}/predict", 2, [b'{"texts": ["a"]}', b"no JSON"], 0.5))
    assert found["codes"]["400"] > 0
    assert 0 < len(found["times"]) <= found["codes"]["200"]
