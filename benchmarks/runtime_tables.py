"""The tables of what runs a model: the service, the table of the device, the first answer."""

from __future__ import annotations

import itertools
import statistics
from typing import Any

Table = tuple[list[str], list[list[str]]]


def serve(content: Any) -> Table:
    """The service under load beside the offline predictor."""
    rows = []
    for name, found in content["models"].items():
        for load, pair in zip(found["load"], itertools.pairwise(found["offline"]), strict=True):
            offline = statistics.mean(one["texts_per_s"] for one in pair)
            times = " / ".join(f"{load[key]:.0f}" for key in ("median_ms", "p95_ms", "p99_ms"))
            rows.append(
                [
                    f"{name}, {found['backend']}",
                    str(load["workers"]),
                    str(load["texts_per_request"]),
                    str(load["errors"]),
                    f"{load['requests_per_s']:,.0f}",
                    f"{load['texts_per_s']:,.0f}",
                    f"{offline:,.0f}",
                    f"{100 * load['share_of_offline']:.0f} %",
                    times,
                ]
            )
    header = ["model", "workers", "texts in a request", "errors", "requests/s", "texts/s", "offline texts/s", "share"]
    return [*header, "ms, median / p95 / p99"], rows


def latency_table(content: Any) -> Table:
    """What the table of the device predicts, and what was measured."""
    rows = []
    for model, backends in content["models"].items():
        for backend, found in backends.items():
            for size in dict.fromkeys((check["batch"], check["length"]) for check in found["checks"]):
                dense, *others = [c for c in found["checks"] if (c["batch"], c["length"]) == size]
                errors = sorted(abs(check["error"]) for check in (dense, *others))
                times = [f"{dense[key]:.2f} ms" for key in ("predicted_ms", "measured_ms")]
                shares = [f"{100 * error:.1f} %" for error in (errors[len(errors) // 2], errors[-1])]
                rows.append([model.removeprefix("shape:"), backend, "×".join(map(str, size)), *times, *shares])
    header = ["model", "back-end", "batch×length", "as it is, predicted", "measured", "median error", "largest"]
    return header, rows


def startup(content: Any) -> Table:
    """What the first answer takes in each installation."""
    rows = [
        [
            {"base": "base installation", "train": "with `train`", "before": "before, with `train`"}[name],
            f"{one['first_answer_s']:.2f} s",
            f"{one['cpu_s']:.2f} s",
            f"{one['memory_mb']:.0f} MB",
            f"{one['installed_mb']:,.0f} MB",
        ]
        for name, one in content["environments"].items()
    ]
    header = ["demo encoder, int8, one text", "first answer", "processor time", "most memory", "installed"]
    return header, rows
