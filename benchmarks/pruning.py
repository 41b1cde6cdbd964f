"""Movement against magnitude, with the same training: ``benchmarks/pruning.py --data DATA --tasks mrpc sst2 --seed 0``.

The layers of a fine-tuned encoder keep 15 % or 5 % of their weights, chosen by size or by movement (hard), while the
dense model teaches logits and hidden states. ``soft`` finds its share under a penalty and stands beside them.
``blocks`` cuts out what dies whole, and trains on.

Every finished run is added to benchmarks/results/pruning.json at once; runs that are there already are left out, and a
cut one goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from result_files import add, read
from students import RESULTS, TASKS, Stage, anywhere, done, found_by

FILE = RESULTS / "pruning.json"
EPOCHS = {"sst2": 4, "mrpc": 8}
"""Passes of the pruning over the rows of a task, about a thousand steps each."""
RATE = 1e-4
PENALTY = 100.0


def runs() -> dict[str, Stage]:
    """The methods that are compared."""
    made: dict[str, Stage] = {}
    for density in (0.15, 0.05):
        # Both have the phases of movement.
        made[f"magnitude-{density:.0%}"] = {"name": "magnitude", "density": density, "begin": 0.1, "end": 0.8}
        made[f"movement-{density:.0%}"] = {"name": "movement", "density": density}
    made["soft"] = {"name": "movement", "penalty": PENALTY}
    made["blocks"] = {"name": "block-movement", "density": 0.3}
    return made


def stages_of(method: Stage, epochs: float) -> list[Stage]:
    """The pruning; where something was cut out, the training of what is left, in the same number of steps together."""
    objective = {"task": 1.0, "logits": 1.0, "hidden": 1.0}
    pruning = epochs * (0.75 if method["name"] == "block-movement" else 1)
    stages: list[Stage] = [
        {"name": "pruning", "start": "dense", "method": method, "objective": objective}
        | {"training": {"epochs": pruning, "learning_rate": RATE}}
    ]
    if pruning < epochs:
        fill = {"epochs": epochs - pruning, "learning_rate": RATE, "keep_best": False}
        stages.append({"name": "fill", "method": {"name": "finetune"}, "objective": objective, "training": fill})
    return stages


def teacher(options: argparse.Namespace, task: str, settings: dict[str, Any]) -> str:
    """The fine-tuned model that the runs of a task and seed start from and learn from."""
    out = options.work / f"{task}-{options.seed}" / "dense"
    if not out.exists():
        training = {"learning_rate": RATE, "epochs": TASKS[task][1]}
        all_stay = {"name": "all-stay", "start": "dense", "method": {"name": "last-k", "keep_layers": 6}}
        done({"model": "demo", "task": settings, "dense": training, "stages": [all_stay]}, out, options.seed)
    return str(out / "dense" / "model")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, type=Path, help="folder with glue/")
    parser.add_argument("--work", type=Path, default=Path("runs/pruning"))
    parser.add_argument("--tasks", nargs="+", default=list(EPOCHS), choices=list(EPOCHS))
    parser.add_argument("--runs", nargs="+", default=list(runs()), choices=list(runs()))
    parser.add_argument("--epochs", type=float, help="default: of the task; with another number nothing is kept")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for task in options.tasks:
        limit, _ = TASKS[task]
        settings = {"name": task, "data": str(options.data / "glue")} | ({"train_limit": limit} if limit else {})
        base = {"model": "demo", "task": settings, "baseline": teacher(options, task, settings)}
        for name in options.runs:
            key = f"{task} {name} seed {options.seed}"
            if key in read(FILE) and options.epochs is None:
                continue
            out = options.work / f"{task}-{options.seed}" / (name if options.epochs is None else f"{name}-short")
            report = done(base | {"stages": stages_of(runs()[name], options.epochs or EPOCHS[task])}, out, options.seed)
            found = anywhere(found_by(report, out), {str(options.data): "DATA", str(options.work): "WORK"})
            if options.epochs is None:
                add(FILE, key, found)
            print(key, found["dense_scores"], found["scores"], *found["notes"], sep="\n", flush=True)


if __name__ == "__main__":
    main()
