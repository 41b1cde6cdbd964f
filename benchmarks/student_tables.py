"""The tables of benchmarks/students.py: what each step of a student's training brings."""

from __future__ import annotations

import statistics
from typing import Any

Table = tuple[list[str], list[list[str]]]
EXPERIMENTS = ("words", "tinybert", "no-labels", "embedding", "architecture")
SPEEDS = ("torch", "onnx", "onnx-int8")

RUNS = {
    "bilstm-labels": "BiLSTM, labels alone",
    "bilstm-teacher": "BiLSTM, teacher",
    "bilstm-augmented": "BiLSTM, teacher on augmented rows",
    "cnn-labels": "CNN, labels alone",
    "cnn-teacher": "CNN, teacher",
    "cnn-augmented": "CNN, teacher on augmented rows",
    "adabert": "adabert, teacher",
    "whole": "TinyBERT, all steps",
    "no-general": "without the general step",
    "no-augmentation": "without augmentation",
    "general-labels": "general step, then labels alone",
    "first-four": "the teacher's first four layers, labels alone",
    "from-scratch": "from random weights, labels alone",
    "no-labels": "trained without labels",
    "labels": "trained with labels",
    "trained-on": "dense, trained on",
    "uniform": "uniform",
    "uniform-ms": "uniform, milliseconds",
    "importance": "importance",
    "random": "random, best of 30 untrained",
    "random-one": "random, one layout for each seed",
    "tpe": "tpe, best of 30 untrained",
    "hard-concrete": "hard-concrete",
    "hard-concrete-ms": "hard-concrete, milliseconds",
    "tas": "tas",
    "tas-ms": "tas, milliseconds",
    "dynabert": "dynabert, one width of two",
    "nas-masks": "nas-masks",
    "last-k": "last-k, 3 of 6 attend",
    "attendout": "attendout, 3 of 6 attend",
    "darts": "darts",
    "darts-ms": "darts, milliseconds",
    "cut": "cut, untrained",
    "distilled": "cut and distilled",
}
"""Runs in the order of the tables, and what they are called there."""


def runs(found: dict[str, Any]) -> Table:
    """A row for each task and run: the mean of its seeds, beside the teacher's, and what it weighs and takes."""
    times = {key: content for key, content in found.items() if " times seed " in key}
    rows = []
    for task in dict.fromkeys(key.split()[0] for key in found if " seed " in key):
        for name, title in RUNS.items():
            seeds = {
                int(key.rpartition(" ")[2]): run for key, run in found.items() if key.startswith(f"{task} {name} seed ")
            }
            if not seeds:
                continue
            first = next(iter(seeds.values()))
            metric = first["metric"]
            scores, teachers = (
                [100 * run[which][metric] for run in seeds.values()] for which in ("scores", "dense_scores")
            )
            rows.append([
                task, title, f"{metric} {spread(scores)}", spread(teachers), spread(
                    [score - teacher for score, teacher in zip(scores, teachers, strict=True)], sign="+"
                ),
                str(len(seeds)), f"{first['params'][1] / 1e6:.1f} M", flops(first), speed(times, task, name),
            ])  # fmt: skip
    header = ["task", "student", "validation score", "teacher", "difference", "seeds", "weights", "FLOPs"]
    return [*header, "speed over the teacher: eager, ONNX, ONNX int8"], rows


def flops(run: dict[str, Any]) -> str:
    """Operations for a text as a share of the teacher's."""
    before, after = run["flops_per_example"]
    return f"{after / before:.2f}"


def spread(values: list[float], sign: str = "") -> str:
    """The mean, and the standard deviation where there are several."""
    mean = f"{statistics.mean(values):{sign}.1f}"
    return f"{mean} ± {statistics.stdev(values):.1f}" if len(values) > 1 else mean


def speed(times: dict[str, Any], task: str, name: str) -> str:
    """The teacher's eager time over that of the student, under each back-end; empty where it was not timed."""
    for key, content in times.items():
        if key.split()[0] != task:
            continue
        found = {(one["name"], one["backend"]): one["median_ms"] for one in content["timings"]}
        if (name, SPEEDS[0]) in found:
            return ", ".join(f"{found['dense', SPEEDS[0]] / found[name, backend]:.1f}" for backend in SPEEDS)
    return ""
