"""What each component of a model costs, counted and measured under each back-end: the survey's Figure 3 here.

    python benchmarks/components.py                    # about ten minutes

Ganesh et al., "Compressing Large-Scale Transformer-Based Models: A Case Study on BERT", 2021. What is measured goes
into benchmarks/results/components.json at once; ``python benchmarks/tables.py`` makes the tables of docs/profile.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import result_files

from trimformer import profile

RUNS = (("demo", 128, 30), ("shape:bert-base", 128, 6))
"""Model, tokens, and least number of passes: of short ones more, which other work on the machine disturbs more."""
BACKENDS = ("torch", "onnx", "onnx-int8", "openvino", "openvino-int8")
DEFAULT = Path(__file__).parent / "results" / "components.json"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, default=DEFAULT, help="where the numbers are written")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args(arguments)
    for model, length, repeats in RUNS:
        found = profile(model, length=length, threads=given.threads, backends=BACKENDS, repeats=repeats)
        key = f"{model.removeprefix('shape:')} {length}"
        result_files.add(given.json, key, {"command": "python benchmarks/components.py"} | found.as_json())


if __name__ == "__main__":
    main()
