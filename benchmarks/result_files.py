"""Files of results that grow entry by entry, so that a cut run loses none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from trimformer.files import atomic_file
from trimformer.report.schema import Report


def summary(report: Report) -> dict[str, Any]:
    """What tables need from the report of any run."""
    dense, trimmed = report.variant("dense"), report.variant("trimmed")
    assert dense is not None
    assert trimmed is not None
    return {
        "metric": trimmed.metric,
        "scores": trimmed.scores,
        "dense_scores": dense.scores,
        "comparison": report.comparison.model_dump() if report.comparison else None,
        "params": [dense.params, trimmed.params],
        "flops_per_example": [dense.flops_per_example, trimmed.flops_per_example],
        "steps": [step.model_dump() for step in report.steps],
        "notes": report.notes,
        "hardware": report.hardware,
    }


def latencies(report: Report) -> dict[str, Any]:
    """The times of each model in a report."""
    return {variant.name: [time.model_dump() for time in variant.latency_ms] for variant in report.variants}


def read(path: Path) -> dict[str, Any]:
    """The entries of the JSON file; none where there is no file yet."""
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}


def add(path: Path, key: str, content: dict[str, Any]) -> None:
    """Put an entry into the JSON file, in place of one of the same name."""
    with atomic_file(path) as file:
        file.write_text(json.dumps(read(path) | {key: content}, indent=1) + "\n", encoding="utf-8")
