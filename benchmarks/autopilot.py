"""The autopilot within half a point on five GLUE tasks, and beside a user's other choices.

    python benchmarks/autopilot.py --data GLUE                  # searches; a cut one goes on where it stopped
    python benchmarks/autopilot.py --data GLUE --part sure      # the same with `--sure`; into autopilot_sure.json
    python benchmarks/autopilot.py --data GLUE --part times     # times what they chose, on a quiet machine
    python benchmarks/autopilot.py --data GLUE --part budgets   # what comes of little time, each with an empty cache
    python benchmarks/autopilot.py --data GLUE --part fitted    # what comes of a fine-tuned model without training

Times: the chosen file, the best file of our dense model, and the stock Hugging Face model in eager PyTorch and as the
int8 files that a user makes without this package, taking turns over the validation texts one by one. All goes into
benchmarks/results/autopilot.json at once.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import shutil
import tempfile
import time
from pathlib import Path

import glue
from peer_exports import stock_exports
from result_files import add

from trimformer.encoder.checkpoints.load import load_with_head
from trimformer.encoder.model.heads import TrimformerForSequenceClassification
from trimformer.hardware import hardware
from trimformer.measure.bench.latency import time_variants
from trimformer.measure.bench.variants import make_variants
from trimformer.measure.bench.workload import own_lengths
from trimformer.pipeline.run_folder import partial_folder
from trimformer.recipe.settings import Recipe
from trimformer.recipe.standard import autopilot_recipe
from trimformer.search.run import Autopilot, run
from trimformer.search.schema import AutopilotReport
from trimformer.tasks.settings import TaskSettings
from trimformer.threads import torch_threads
from trimformer.training.settings import TrainingSettings

RESULTS = Path(__file__).parent / "results" / "autopilot.json"
ROWS = {"sst2": 8000}  # of the training file, where they are not all used
EPOCHS = {"sst2": 1.5}
INT8 = ("stock onnx-int8", "stock openvino-int8")


def recipe(task: str, seed: int, given: argparse.Namespace) -> Recipe:
    """Half a point, one text at a time, at the data's own lengths."""
    settings = TaskSettings(name=task, data=str(given.data), train_limit=ROWS.get(task))
    if task == "imdb":  # beside GLUE
        settings = TaskSettings(name=task, data=str(given.data.parent / task), max_length=128)
    made = autopilot_recipe(
        "demo",
        settings,
        str(given.work / f"{task}-{seed}"),
        budget={"max_drop": 0.5},
        training=TrainingSettings(learning_rate=1e-4, epochs=EPOCHS.get(task, 3.0)),
        seed=seed,
    )
    made.measure.threads = given.threads
    if given.part == "sure" and made.autopilot is not None:
        made.autopilot.sure = True
    return made


def search(task: str, seed: int, given: argparse.Namespace) -> None:
    made = recipe(task, seed, given)
    out = Path(made.out)
    if not out.exists():
        run(made, resume=partial_folder(out).exists())
    report = AutopilotReport.model_validate_json((out / "autopilot.json").read_text("utf-8"))
    found = report.model_dump(mode="json")
    found["recipe"]["task"]["data"], found["recipe"]["out"], found["task"]["source"] = "GLUE", "", "GLUE"
    add(RESULTS.with_stem("autopilot_sure") if given.part == "sure" else RESULTS, f"search {task} seed {seed}", found)
    print(task, seed, *report.conclusion, sep="\n", flush=True)


def times(task: str, seed: int, given: argparse.Namespace) -> None:
    made = recipe(task, seed, given)
    out = Path(made.out)
    report = AutopilotReport.model_validate_json((out / "autopilot.json").read_text("utf-8"))
    dense = load_with_head(out / "dense" / "model")
    assert isinstance(dense, TrimformerForSequenceClassification)
    train, texts = glue.splits(made.task, made.seed, out / "dense" / "model")
    best = min((row for row in report.files if row.name == "dense" and row.inside), key=lambda row: row.ms)
    with tempfile.TemporaryDirectory() as folder, torch_threads(given.threads):
        variants = make_variants({"dense": dense}, ["eager", best.backend], given.threads, Path(folder) / "ours", train)
        stock = stock_exports(dense, Path(folder) / "stock", given.threads, train)
        variants += [variant for variant in stock if variant.backend in INT8]
        chosen = make_variants({"chosen": out / "model"}, [report.chosen.backend], given.threads, Path(folder), train)
        timings = time_variants([*variants, *chosen], own_lengths(texts, [1]), threads=given.threads)
    key = f"times {task} seed {seed}"
    add(RESULTS, key, {"hardware": hardware(), "timings": [dataclasses.asdict(timing) for timing in timings]})
    print(task, seed, *((t.name, t.backend, t.sequences_per_s, t.skipped) for t in timings), sep="\n", flush=True)


def budgets(task: str, seed: int, given: argparse.Namespace) -> None:
    """Within one point from the bare encoder."""
    for minutes in given.minutes:
        made = recipe(task, seed, given)
        assert made.autopilot is not None
        made.autopilot.time_budget, made.autopilot.max_drop = 60 * minutes, 1.0
        timed(made, f"{task} {minutes} min seed {seed}", f"{made.out}-{minutes}m")


def fitted(task: str, seed: int, given: argparse.Namespace) -> None:
    """Within one point of the fine-tuned encoder, which is trained here at first."""
    made = recipe(task, seed, given)
    made.out += "-dense"
    known = partial_folder(Path(made.out)) / "dense" / "model"
    if not known.is_dir():
        search = Autopilot(made, resume=partial_folder(Path(made.out)).exists())
        with search.folder.claimed():
            search.load()
            search.dense()
    made = made.model_copy(update={"model": str(known)})
    assert made.autopilot is not None
    made.autopilot.post_training, made.autopilot.max_drop = True, 1.0
    timed(made, f"{task} fitted seed {seed}", f"{given.work / task}-{seed}-fitted")


def timed(made: Recipe, key: str, out: str) -> None:
    """Run it with an empty cache, so that the table of the device is measured, too, and write down what came of it."""
    for folder in (Path(out), partial_folder(Path(out))):
        shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TRIMFORMER_CACHE"] = cache
        started = time.monotonic()
        report = run(made.model_copy(update={"out": out}))
        seconds = time.monotonic() - started
    told = report.model_dump(
        mode="json", include={"steps", "looked", "points", "files", "chosen", "comparison", "inside", "hardware"}
    )
    assert made.autopilot is not None
    add(
        RESULTS.with_name("autopilot_budgets.json"),
        key,
        told | {"seconds": seconds, "max_drop": made.autopilot.max_drop},
    )
    print(key, seconds, *report.conclusion, sep="\n", flush=True)


PARTS = {"search": search, "sure": search, "times": times, "budgets": budgets, "fitted": fitted}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with SST-2/, MRPC/, …")
    parser.add_argument("--part", choices=list(PARTS), default="search")
    parser.add_argument("--work", type=Path, default=Path("runs/autopilot"))
    parser.add_argument("--tasks", nargs="+", default=list(glue.TASKS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--minutes", nargs="+", type=int, default=[5, 15, 45, 120], help="time budgets, for that part")
    given = parser.parse_args()
    for seed in given.seeds:
        for task in given.tasks:
            PARTS[given.part](task, seed, given)


if __name__ == "__main__":
    main()
