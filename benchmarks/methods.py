"""Each way to a smaller encoder that has no table of its own, on two tasks: ``benchmarks/methods.py --data GLUE``.

For each task and seed one dense model is fine-tuned; it is the baseline, teacher and start of the others, and all of
these get the same training after it, the control too. Every finished run is added to
benchmarks/results/methods_<task>.json at once; runs that are there already are left out.

``--part times``, on a quiet machine: the models of a seed taking turns, one text at a time with one thread.
"""

from __future__ import annotations

import argparse
import dataclasses
import gzip
from pathlib import Path
from typing import Any

from result_files import add, read, summary

from trimformer.hardware import hardware
from trimformer.measure.bench.latency import benchmark
from trimformer.pipeline.run import run
from trimformer.pipeline.run_folder import partial_folder
from trimformer.recipe.reading import parse
from trimformer.recipe.settings import Recipe
from trimformer.report.schema import Report

RESULTS = Path(__file__).parent / "results"
# task: (training rows used, epochs of dense fine-tuning)
TASKS = {"sst2": (8000, 2), "mrpc": (None, 3)}
EPOCHS = 1
"""Of training after the dense model, for every run."""
LENGTH = 32
LAYERWISE = {"task": 1.0, "logits": 1.0, "hidden": 1.0}
LOGITS = {"task": 1.0, "logits": 1.0}
EVERY_SECOND = {"name": "student", "layers": [0, 2, 4]}
LAST_THREE = {"name": "last-k", "keep_layers": 3}
# run: what its stages are; the last one is trained, but for repaired-3, which trains nothing
RUNS: dict[str, list[dict[str, Any]]] = {
    "trained-on": [{"method": "finetune", "objective": LAYERWISE}],
    "mean-3": [{"method": LAST_THREE}, {"method": "finetune", "objective": LAYERWISE}],
    "repaired-3": [{"method": LAST_THREE}, {"method": "repair"}],
    "mean-3-repaired": [
        {"method": LAST_THREE},
        {"method": "repair"},
        {"method": "finetune", "objective": LAYERWISE},
    ],
    "gaussian-3": [
        {"method": LAST_THREE | {"replace_by": "gaussian"}},
        {"method": "finetune", "objective": LAYERWISE},
    ],
    "low-rank": [{"method": {"name": "low-rank", "cost": "params", "target": 0.5}, "objective": LAYERWISE}],
    "magnitude": [{"method": {"name": "magnitude", "density": 0.3}, "objective": LAYERWISE}],
    "vocabulary": [
        {"method": {"name": "vocabulary", "at_least": 2}},
        {"method": "finetune", "objective": LOGITS},
    ],
    "student": [{"start": EVERY_SECOND, "method": "finetune", "objective": LAYERWISE}],
    "student-logits": [{"start": EVERY_SECOND, "method": "finetune", "objective": LOGITS}],
    "student-cosine": [{"start": EVERY_SECOND, "method": "finetune", "objective": LOGITS | {"cosine": 1.0}}],
}


def recipe(task: str, name: str, data: str, folder: Path, seed: int) -> Recipe:
    """The recipe of one run; all but the control start from the control's dense model."""
    limit, dense_epochs = TASKS[task]
    stages = []
    for number, stage in enumerate(RUNS[name]):
        method = stage["method"] if isinstance(stage["method"], dict) else {"name": stage["method"]}
        first = {"start": "dense"} if number == 0 else {}
        training = {"learning_rate": 1e-4, "epochs": EPOCHS}
        stages.append(first | stage | {"name": f"stage-{number}", "method": method, "training": training})
    return parse(
        {
            "model": "demo",
            "task": {"name": task, "data": data} | ({"train_limit": limit} if limit else {}),
            "out": str(folder / name),
            "seed": seed,
            "dense": {"learning_rate": 1e-4, "epochs": dense_epochs},
            "stages": stages,
            "measure": {"backends": ["torch"], "batch": [8]},
            "export": {"onnx": False},
        }
        | ({} if name == "trained-on" else {"baseline": str(folder / "trained-on" / "dense" / "model")}),
        "these settings",
    )


def megabytes(model: Path) -> dict[str, float]:
    """Size of the weights' file, as it is and compressed."""
    content = (model / "model.safetensors").read_bytes()
    return {"megabytes": len(content) / 1e6, "compressed_megabytes": len(gzip.compress(content, 6)) / 1e6}


def found_by(report: Report, out: Path) -> dict[str, Any]:
    """What the table needs from a run."""
    recipe = report.recipe | {"out": "", "baseline": "dense"} | {"task": report.recipe["task"] | {"data": "glue"}}
    examples = report.task.model_dump() | {"source": "GLUE"}
    return summary(report) | {"examples": examples, "recipe": recipe} | megabytes(out / "model")


def times(task: str, folder: Path, seed: int) -> None:
    """The models of a seed that are there, and the dense one."""
    models = {"dense": folder / "trained-on" / "dense" / "model"}
    models |= {name: folder / name / "model" for name in RUNS if (folder / name).is_dir()}
    timings = benchmark(models, batch=[1], length=[LENGTH], threads=1, backends=["onnx", "onnx-int8"])
    found = {"hardware": hardware(), "timings": [dataclasses.asdict(timing) for timing in timings]}
    add(RESULTS / f"methods_{task}.json", f"times seed {seed}", found)
    print(task, *((t.name, t.backend, t.median_ms, t.skipped) for t in timings), sep="\n", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="folder with SST-2/, MRPC/")
    parser.add_argument("--part", choices=["runs", "times"], default="runs")
    parser.add_argument("--work", type=Path, default=Path("runs/methods"))
    parser.add_argument("--tasks", nargs="+", default=list(TASKS))
    parser.add_argument("--runs", nargs="+", default=list(RUNS))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for task in options.tasks:
        folder = options.work / f"{task}-{options.seed}"
        if options.part == "times":
            times(task, folder, options.seed)
            continue
        file = RESULTS / f"methods_{task}.json"
        for name in options.runs:
            key = f"{name} seed {options.seed}"
            if key in read(file):
                continue
            made = recipe(task, name, options.data, folder, options.seed)
            report = run(made, resume=partial_folder(Path(made.out)).exists())
            found = found_by(report, folder / name)
            add(file, key, found)
            print(task, name, found["dense_scores"], found["scores"], flush=True)


if __name__ == "__main__":
    main()
