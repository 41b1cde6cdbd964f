"""Speed of a dense and a trimmed BERT-base (random weights) under every backend, in one interleaved run.

    python benchmarks/speed.py [--json FILE] [--threads 2] [--repeats 15]

Prints a markdown table with ratios to Hugging Face eager fp32 and writes the numbers with the hardware they
hold for. Latency does not depend on the weights, so random ones will do; int8 accuracy does, and is not
measured here.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

from trimformer.measure.latency import Timing, benchmark, speedups

MODELS = {"dense": "shape:bert-base", "mean 2-11": "shape:bert-base,attention=2-11=mean"}
SHAPES = [(4, 256), (8, 128)]
DEFAULT = Path(__file__).parent / "results" / "speed_bert_base.json"


def table(timings: list[Timing]) -> str:
    """Markdown, one row for each variant and shape."""
    lines = ["| batch × length | model | backend | median ms | p95 ms | vs eager |", "|---" * 6 + "|"]
    for timing, ratio in zip(timings, speedups(timings), strict=True):
        shape = f"{timing.batch} × {timing.length}"
        if timing.median_ms is None or timing.p95_ms is None or ratio is None:
            lines.append(f"| {shape} | {timing.name} | {timing.backend} | not run: {timing.skipped} | | |")
            continue
        numbers = f"{timing.median_ms:.1f} | {timing.p95_ms:.1f} | {ratio:.2f}×"
        lines.append(f"| {shape} | {timing.name} | {timing.backend} | {numbers} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, default=DEFAULT, help="where the numbers are written")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=15, help="least number of timed passes")
    given = parser.parse_args()
    timings = benchmark(MODELS, shapes=SHAPES, threads=given.threads, repeats=given.repeats)
    print(table(timings))

    from trimformer.measure.hardware import hardware

    result = {
        "command": f"python benchmarks/speed.py --threads {given.threads} --repeats {given.repeats}",
        "models": MODELS,
        "hardware": hardware(),
        "timings": [
            dataclasses.asdict(timing) | {"speedup": ratio}
            for timing, ratio in zip(timings, speedups(timings), strict=True)
        ],
    }
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
