"""AttendOut as published, long enough for its generator to move: ``python benchmarks/faithful.py --data DIR``.

The runs of ``glue.py`` take a few dozen steps of the generator, each of at most its learning rate for a weight. This
one takes some hundreds on SST-2, and writes down how far its weights come from where they began, and what it keeps of
each layer on the way; into benchmarks/results/faithful.json. A run that was cut goes on.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any

import glue
from result_files import add, summary

from trimformer.pipeline.run import run
from trimformer.pipeline.run_folder import partial_folder

RESULTS = Path(__file__).parent / "results" / "faithful.json"
POINTS = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="folder with SST-2/")
    parser.add_argument("--work", type=Path, default=Path("runs/faithful"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rows", type=int, default=40000, help="of the training file")
    parser.add_argument("--epochs", type=float, default=4.0, help="of the search; the repair has one")
    options = parser.parse_args()
    made = glue.recipe("sst2", "faithful-3", options.data, options.work, options.seed)
    made.baseline, made.task.train_limit, made.measure.backends, made.export.onnx = None, options.rows, ["torch"], False
    assert made.dense is not None
    made.dense = made.dense.model_copy(update={"epochs": 1.0})
    for stage, epochs in zip(made.stages, (options.epochs, 1.0), strict=True):
        stage.training = stage.training.model_copy(update={"epochs": epochs})
    report = run(made, resume=partial_folder(Path(made.out)).exists())
    curves = {curve.name: [(point.step, point.value) for point in curve.points] for curve in report.curves}
    found = summary(report) | {
        "removed_layers": report.removed_layers(),
        "updates": len(curves["reward"]),
        "path": thinned(curves),
        "examples": report.task.model_dump() | {"source": "GLUE"},
        "recipe": report.recipe | {"out": ""} | {"task": report.recipe["task"] | {"data": "glue"}},
    }
    add(RESULTS, f"sst2 seed {options.seed}", found)
    print(report.removed_layers(), *report.notes, found["path"][-1], sep="\n")


def thinned(curves: dict[str, list[Any]]) -> list[dict[str, Any]]:
    """POINTS updates, the first and the last of them included; the reward is the mean since the one before."""
    rewards = [value for _, value in curves["reward"]]
    taken = sorted({round(index * (len(rewards) - 1) / (POINTS - 1)) for index in range(POINTS)})
    return [
        {
            "update": at + 1,
            "generator_change": curves["generator_change"][at][1],
            "keep_probability": curves["keep_probability"][at][1],
            "reward": statistics.mean(rewards[before + 1 : at + 1]),
        }
        for before, at in zip([-1, *taken], taken, strict=False)
    ]


if __name__ == "__main__":
    main()
