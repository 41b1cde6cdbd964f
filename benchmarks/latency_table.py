"""Predicted against measured milliseconds of whole models: how far the table of the device can be trusted.

    python benchmarks/latency_table.py                 # about half an hour on a quiet machine
    python benchmarks/latency_table.py --only onnx     # one back-end again

Each model as it is and eight smaller forms of it with random layers (kinds, heads, units). The tables are measured
anew. What is measured goes into benchmarks/results/latency_table.json at once; ``python benchmarks/tables.py`` makes
the table of docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trimformer import load
from trimformer.files import atomic_file
from trimformer.hardware import hardware
from trimformer.measure.device.pieces import latency_tables
from trimformer.measure.device.varied import check, median_error

MODELS = ("shape:bert-base", "shape:minilm-l6")
BACKENDS = ("onnx", "onnx-int8", "openvino-int8", "torch")
BATCHES, LENGTH = (1, 8), 128
FORMS = 8
DEFAULT = Path(__file__).parent / "results" / "latency_table.json"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default=",".join(BACKENDS), help="comma-separated back-ends")
    parser.add_argument("--json", type=Path, default=DEFAULT, help="where the numbers are written")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args(arguments)
    content: dict[str, Any] = json.loads(given.json.read_text(encoding="utf-8")) if given.json.is_file() else {}
    content |= {"command": "python benchmarks/latency_table.py", "hardware": hardware(), "threads": given.threads}
    for name in MODELS:
        model = load(name)
        for backend in given.only.split(","):
            with tempfile.TemporaryDirectory() as folder:  # nothing that was measured before helps
                started = time.perf_counter()
                tables = latency_tables(
                    model, batch=BATCHES, length=[LENGTH], threads=given.threads, backends=[backend],
                    file=Path(folder) / "table.json",
                )  # fmt: skip
                seconds = time.perf_counter() - started
            checks = check(model, tables, count=FORMS)
            content.setdefault("models", {}).setdefault(name, {})[backend] = {
                "seconds_for_tables": seconds,
                "median_error": median_error(checks),
                "checks": [dataclasses.asdict(one) for one in checks],
                "tables": [table.pieces for table in tables],
            }
            every = [
                abs(one["error"])
                for found in content["models"].values()
                for entry in found.values()
                for one in entry["checks"]
            ]
            content["median_error"] = statistics.median(every)
            with atomic_file(given.json) as file:
                file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
