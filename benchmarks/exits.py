"""Texts that leave early: ``python benchmarks/exits.py --data DATA --tasks sst2 mrpc qqp --seed 0``.

Of each task and seed a dense model is fine-tuned once; each method then learns exits on top of it, and its threshold is
chosen on rows held out from train, for half a point. Scores are those of the dev rows. PABEE trains all weights, so
that it has the dense model trained on for as long beside it. Files in fp32 and int8 of both models are timed on the dev
texts, batch 1 and 32, one thread; on a quiet machine alone do the times say anything.

Every finished run is added to benchmarks/results/exits.json at once; runs that are there already are left out, and a
cut one goes on. --rows and --epochs are for a quick look, whose results belong into another --file.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from result_files import add, latencies, read, summary
from tasks import quora

from trimformer.pipeline.run import run
from trimformer.pipeline.run_folder import partial_folder
from trimformer.recipe.reading import parse
from trimformer.report.schema import Report

RESULTS = Path(__file__).parent / "results" / "exits.json"
TASKS: dict[str, tuple[int | None, float]] = {"sst2": (8000, 2), "mrpc": (None, 3), "qqp": (None, 2)}
"""Of each task: rows that are used, and epochs of the dense model."""
HEADS = {"epochs": 3}
"""How exits are trained where nothing else is; all weights are trained as those of the dense model."""
METHODS: dict[str, dict[str, Any]] = {
    "deebert": {"training": HEADS},
    "fastbert": {"training": HEADS, "objective": {"task": 0}},
    "pabee": {"training": {"epochs": 3, "learning_rate": 1e-4}},
}
MEASURE = {"backends": ["torch", "onnx", "onnx-int8"], "batch": [1, 32], "threads": 1}


def task_of(options: argparse.Namespace, name: str) -> dict[str, Any]:
    limit = options.rows or TASKS[name][0]
    found = quora(options.data, options.work) if name == "qqp" else {"name": name, "data": str(options.data / "glue")}
    return found | ({"train_limit": limit} if limit else {})


def done(options: argparse.Namespace, content: dict[str, Any], out: Path) -> Report:
    """The report of a run, which goes on where it was cut."""
    made = parse({"model": options.model, **content, "out": str(out), "seed": options.seed}, "these settings")
    return run(made, resume=partial_folder(out).exists())


def dense(options: argparse.Namespace, name: str, folder: Path) -> str:
    """The fine-tuned model on which the exits of a task and seed are learned."""
    out = folder / "dense"
    if not out.exists():
        epochs = options.epochs or TASKS[name][1]
        last = {"name": "unused", "start": "dense", "method": {"name": "last-k", "keep_layers": 0}}
        training = {"learning_rate": 1e-4, "epochs": epochs}
        content = {"task": task_of(options, name), "dense": training, "stages": [last], "fine_tune": "always"}
        quick = {"measure": {"backends": ["torch"], "batch": [1]}, "export": {"onnx": False}}
        done(options, content | quick, out)
    return str(out / "dense" / "model")


def found_by(options: argparse.Namespace, report: Report) -> dict[str, Any]:
    """What tables need from a run, without the folders of this machine."""
    trimmed = report.variant("trimmed")
    assert trimmed is not None
    found = summary(report) | {
        "control": report.control and report.control.model_dump(),
        "executed": trimmed.executed,
        "exits": {stage: one.model_dump() for stage, one in report.exits.items()},
        "export": [one.model_dump() for one in report.export],
        "latency": latencies(report),
        "recipe": report.recipe | {"out": ""},
    }
    text = json.dumps(found)
    for path, name in {str(options.data): "DATA", str(options.work): "WORK"}.items():
        text = text.replace(path, name)
    return json.loads(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, type=Path, help="folder with glue/ and quora_bimpm/")
    parser.add_argument("--work", type=Path, default=Path("runs/exits"))
    parser.add_argument("--model", default="demo")
    parser.add_argument("--tasks", nargs="+", default=[*TASKS], choices=TASKS)
    parser.add_argument("--methods", nargs="+", default=[*METHODS], choices=METHODS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--file", type=Path, default=RESULTS)
    parser.add_argument("--rows", type=int, help="of each task")
    parser.add_argument("--epochs", type=float, help="of all trainings")
    options = parser.parse_args()
    for name in options.tasks:
        folder = options.work / f"{name}-{options.seed}"
        for method in options.methods:
            key = f"{name} {method} seed {options.seed}"
            if key in read(options.file):
                continue
            stage = {"name": "exits", "start": "dense", "method": {"name": method}} | METHODS[method]
            if options.epochs:
                stage["training"] = stage["training"] | {"epochs": options.epochs}
            content = {"task": task_of(options, name), "stages": [stage], "measure": MEASURE}
            content |= {"baseline": dense(options, name, folder)}
            content |= {"control": "dense"} if method == "pabee" else {}
            report = done(options, content, folder / method)
            found = found_by(options, report)
            add(options.file, key, found)
            print(key, found["dense_scores"], found["scores"], found["executed"], flush=True)


if __name__ == "__main__":
    main()
