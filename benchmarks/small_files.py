"""Small files: what each way to write weights in fewer bits costs in score. ``benchmarks/small_files.py --data DATA``.

A stage of a method that trains is one epoch of distillation; the others train nothing. Every finished run is added to
benchmarks/results/small_files.json at once; runs that are there already are left out, and a cut one goes on. The dense
model of a task and seed is the one that students.py fine-tunes: with its ``--work`` the same one is taken.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from result_files import add, read, summary
from students import TASKS, anywhere, done

from trimformer.methods import METHODS

FILE = Path(__file__).parent / "results" / "small_files.json"
WAYS: dict[str, list[dict[str, Any]]] = {
    "gobo-3-3": [{"name": "gobo", "bits": 3, "embedding_bits": 3}],
    "gobo-3-4": [{"name": "gobo", "bits": 3, "embedding_bits": 4}],
    "gobo-4-3": [{"name": "gobo", "bits": 4, "embedding_bits": 3}],
    "gobo-4-4": [{"name": "gobo", "bits": 4, "embedding_bits": 4}],
    "round-embedding-8": [{"name": "round-to-nearest", "embedding_bits": 8}],
    "round-embedding-4": [{"name": "round-to-nearest", "embedding_bits": 4}],
    "round-8": [{"name": "round-to-nearest", "bits": 8, "embedding_bits": 8}],
    "round-4": [{"name": "round-to-nearest", "bits": 4, "embedding_bits": 4}],
    "round-3": [{"name": "round-to-nearest", "bits": 3, "embedding_bits": 3}],
    "finetune-round-4": [{"name": "finetune"}, {"name": "round-to-nearest", "bits": 4, "embedding_bits": 4}],
    "finetune-round-3": [{"name": "finetune"}, {"name": "round-to-nearest", "bits": 3, "embedding_bits": 3}],
    "q-bert-4": [{"name": "q-bert", "bits": 4, "sensitive_bits": 4, "embedding_bits": 4}],
    "q-bert-3-4": [{"name": "q-bert", "bits": 3, "sensitive_bits": 4, "embedding_bits": 4}],
    "q-bert-3": [{"name": "q-bert", "bits": 3, "sensitive_bits": 3, "embedding_bits": 3}],
    "round-4-codebook": [
        {"name": "round-to-nearest", "bits": 4, "embedding_bits": None},
        {"name": "codebook-embedding", "width": 4, "bits": 8},
    ],
    "vocabulary-gobo-4-3": [{"name": "vocabulary"}, {"name": "gobo", "bits": 4, "embedding_bits": 3}],
    "factorise-192": [{"name": "factorise-embedding", "width": 192}],
    "factorise-128": [{"name": "factorise-embedding", "width": 128}],
}
TRAINED = {
    "objective": {"task": 1.0, "logits": 1.0, "hidden": 1.0},
    "training": {"learning_rate": 5e-5, "epochs": 1},
}
"""How a stage of a method that trains does it."""


def dense(options: argparse.Namespace, task: str) -> Path:
    """The fine-tuned model of a task, made where it is not there."""
    _, epochs = TASKS[task]
    out = options.work / f"{task}-{options.seed}" / "dense"
    if not out.exists():
        training = {"learning_rate": 1e-4, "epochs": epochs}
        all_stay = {"name": "all-stay", "start": "dense", "method": {"name": "last-k", "keep_layers": 6}}
        settings = {"model": "demo", "task": table(options, task), "dense": training, "stages": [all_stay]}
        done(settings, out, options.seed)
    found: Path = out / "dense" / "model"
    return found


def table(options: argparse.Namespace, task: str) -> dict[str, Any]:
    limit, _ = TASKS[task]
    return {"name": task, "data": str(options.data / "glue")} | ({"train_limit": limit} if limit else {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, type=Path, help="folder with glue/")
    parser.add_argument("--work", type=Path, default=Path("runs/small-files"))
    parser.add_argument("--dense", type=Path, help="the folder of a fine-tuned model that is there")
    parser.add_argument("--tasks", nargs="+", default=["sst2"])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for task in options.tasks:
        for name, methods in WAYS.items():
            key = f"{task} {name} seed {options.seed}"
            if key in read(FILE):
                continue
            base = options.dense or dense(options, task)
            stages = [
                {"name": f"stage-{number}", "method": method, "start": "previous" if number else "dense"}
                | (TRAINED if METHODS[method["name"]].trains else {})
                for number, method in enumerate(methods)
            ]
            content = {"model": "demo", "task": table(options, task), "baseline": str(base), "stages": stages}
            report = done(content, options.work / f"{task}-{options.seed}-small" / name, options.seed)
            before, after = report.variant("dense"), report.variant("trimmed")
            assert before is not None
            assert after is not None
            places = {str(options.data): "DATA", str(options.work): "WORK", str(base): "DENSE"}
            found = anywhere(summary(report) | {"bytes": [before.bytes, after.bytes], "stages": stages}, places)
            add(FILE, key, found)
            print(key, found["dense_scores"], found["scores"], after.bytes / before.bytes, flush=True)


if __name__ == "__main__":
    main()
