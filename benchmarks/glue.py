"""AttendOut, its controls and other methods on GLUE with the demo encoder: ``python benchmarks/glue.py --data DIR``.

``--part controls``: what finds the layers, REINFORCE or the comparison at its end? AttendOut beside the same training
with gates that never learn, with sets that are drawn and compared, and with its choice reversed, all from one dense
model; and what it gains where the means are fitted to the dense model before the repair (``fitted``); into
benchmarks/results/controls_<task>.json.

For each task and seed one dense model is fine-tuned, by the first run; it is the baseline, teacher and start of the
others. All get as many epochs together as the layerwise variant gets for search and repair, the controls all of them
for repair; ``trained-on`` removes nothing and distils from the dense model as the others do. Every
finished run is added to benchmarks/results/glue_<task>.json at once; runs that are there already are left out. Where
several run side by side, each with its part of the cores (``OMP_NUM_THREADS``), ``--untimed`` leaves out the times.

``--part times``, on a quiet machine: the models of a seed taking turns over the validation texts one by one, with one
thread, as int8 files, beside the dense one; into benchmarks/results/methods_speed.json.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from pathlib import Path

from result_files import add, latencies, read, summary

from trimformer.encoder.checkpoints.load import load_tokenizer, load_with_head, read_config
from trimformer.hardware import hardware
from trimformer.measure.bench.latency import time_variants
from trimformer.measure.bench.variants import make_variants
from trimformer.measure.bench.workload import own_lengths
from trimformer.methods.base import DISTILLED
from trimformer.pipeline.run import run
from trimformer.pipeline.run_folder import partial_folder
from trimformer.recipe.settings import Recipe, StageSettings
from trimformer.recipe.standard import standard_recipe
from trimformer.report.schema import Report
from trimformer.tasks.cuts import cuts_of
from trimformer.tasks.encode import encode
from trimformer.tasks.encoding.encoded import Encoded
from trimformer.tasks.settings import TaskSettings
from trimformer.tasks.task import load_task
from trimformer.threads import torch_threads
from trimformer.training.settings import TrainingSettings

RESULTS = Path(__file__).parent / "results"
# task: (training rows used, epochs of dense fine-tuning, of search, of repair)
TASKS = {
    "sst2": (16000, 2, 1, 2),
    "mrpc": (None, 3, 2, 3),
    "rte": (None, 2, 1, 2),
    "stsb": (None, 3, 2, 3),
    "cola": (None, 3, 2, 3),
}
LAYERS = 6
SHARE = 0.8
"""Of the layers' operations, for hard-concrete: about what is left without the attention of three layers."""
MILLISECONDS = {"target": 0.6, "cost": "ms", "backend": "onnx-int8", "parts": ["attention", "heads", "blocks", "units"]}
"""For hard-concrete-ms: towards the time of one text in an int8 file."""
RUNS = [
    *("trained-on", "last-3", "random-3", "greedy-3", "layerwise-3", "hard-concrete", "hard-concrete-ms"),
    *("last-2", "layerwise-2", "faithful-2", "last-4", "layerwise-4", "faithful-4"),
]
CONTROLS = ["untrained", "random-finalists", "reversed"]
"""Of the layerwise variant."""
COMPARED = ["layerwise-3", *(f"{control}-3" for control in CONTROLS), "last-3", "fitted-3"]
METHODS = {
    "trained-on": "finetune",
    "last": "last-k",
    "random": "random-k",
    "greedy": "greedy",
    "layerwise": "attendout",
    "fitted": "attendout",
    **dict.fromkeys(CONTROLS, "attendout"),
    "faithful": "attendout-faithful",
    "hard-concrete": "hard-concrete",
    "hard-concrete-ms": "hard-concrete",
}


def recipe(task: str, name: str, data: str, work: Path, seed: int) -> Recipe:
    """The recipe of one run, such as ``layerwise-2``: two layers lose their attention."""
    limit, dense_epochs, search_epochs, repair_epochs = TASKS[task]
    settings = TaskSettings(name=task, data=data, train_limit=limit)
    method, _, removed = name.rpartition("-") if name[-1].isdigit() else (name, "", "")
    chosen: dict[str, object] = {"name": METHODS[method]}
    if removed:
        chosen["keep_layers"] = LAYERS - int(removed)
    if method in CONTROLS:
        chosen["control"] = method
    if method == "hard-concrete":
        chosen["target"] = SHARE
    if method == "hard-concrete-ms":
        chosen |= MILLISECONDS
    training = TrainingSettings(learning_rate=1e-4, epochs=dense_epochs)
    folder = work / f"{task}-{seed}"
    made = standard_recipe("demo", settings, str(folder / name), method=chosen, training=training, seed=seed)
    made.measure.backends = ["onnx", "onnx-int8"]
    made.measure.batch = [8]
    if name == "trained-on":
        (stage,) = made.stages
        stage.objective = DISTILLED
        stage.training = training.model_copy(update={"epochs": search_epochs + repair_epochs})
        return made
    made.baseline = str(dense_model(folder))
    epochs = {
        "last": (1.0, search_epochs + repair_epochs),  # a control's first stage takes no step
        "random": (1.0, search_epochs + repair_epochs),
        "faithful": (dense_epochs, repair_epochs / 2),
    }.get(method, (search_epochs, repair_epochs))
    for stage, count in zip(made.stages, epochs, strict=True):
        stage.training = training.model_copy(update={"epochs": count})
    if method == "fitted":
        fit = {"name": "fit", "start": "previous", "method": {"name": "repair"}}
        made.stages.insert(1, StageSettings.model_validate(fit))
    return made


def dense_model(folder: Path) -> Path:
    """The dense model of a task and seed, in the folder of the run that fine-tunes it."""
    return folder / "trained-on" / "dense" / "model"


def found_by(report: Report, timed: bool) -> dict[str, object]:
    """What the table needs from a run."""
    return summary(report) | {
        "removed_layers": report.removed_layers(),
        "latency_ms": latencies(report) if timed else {},
        "training_cost": report.training_cost,
        "examples": report.task.model_dump() | {"source": "GLUE"},
        "recipe": report.recipe | {"out": "", "baseline": "dense"} | {"task": report.recipe["task"] | {"data": "glue"}},
    }


def splits(settings: TaskSettings, seed: int, model: Path) -> tuple[Encoded, Encoded]:
    """The training rows, to calibrate on, and the validation rows."""
    data, tokenizer = load_task(settings, seed), load_tokenizer(model)
    cuts = cuts_of(settings, tokenizer, read_config(model).max_tokens)
    train, validation = (
        encode(data.task, split, tokenizer, **cuts._asdict()) for split in (data.train, data.validation)
    )
    return train, validation


def times(task: str, options: argparse.Namespace) -> None:
    """The models of a seed that are there, one text at a time."""
    folder = options.work / f"{task}-{options.seed}"
    dense = dense_model(folder)
    train, texts = splits(
        recipe(task, "trained-on", options.data, options.work, options.seed).task, options.seed, dense
    )
    models = {
        name: folder / name / "model" for name in options.runs if (folder / name).is_dir() and name != "trained-on"
    }
    with tempfile.TemporaryDirectory() as exports, torch_threads(1):
        variants = make_variants({"dense": load_with_head(dense)}, ["eager"], 1, Path(exports), train)
        for name, model in {"dense": dense, **models}.items():
            variants += make_variants({name: load_with_head(model)}, ["onnx-int8"], 1, Path(exports) / name, train)
        timings = time_variants(variants, own_lengths(texts, [1]), threads=1)
    found = {"hardware": hardware(), "timings": [dataclasses.asdict(timing) for timing in timings]}
    add(RESULTS / "methods_speed.json", f"{task} seed {options.seed}", found)
    print(task, *((t.name, t.backend, t.sequences_per_s, t.skipped) for t in timings), sep="\n", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="folder with SST-2/, MRPC/, …")
    parser.add_argument("--part", choices=["runs", "controls", "times"], default="runs")
    parser.add_argument("--work", type=Path, default=Path("runs/glue"))
    parser.add_argument("--tasks", nargs="+", default=list(TASKS))
    parser.add_argument("--runs", nargs="+", help="in place of those of the part")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, help="training rows used, in place of those of the task")
    parser.add_argument("--untimed", action="store_true", help="scores only: other work runs beside this")
    options = parser.parse_args()
    options.runs = options.runs or (COMPARED if options.part == "controls" else RUNS)
    for task in options.tasks:
        if options.part == "times":
            times(task, options)
            continue
        file = RESULTS / f"{'controls' if options.part == 'controls' else 'glue'}_{task}.json"
        for name in options.runs:
            key = f"{name} seed {options.seed}"
            if key in read(file):
                continue
            made = recipe(task, name, options.data, options.work, options.seed)
            if options.untimed:
                made.measure.backends, made.export.onnx = ["torch"], False
            if options.limit:
                made.task.train_limit = options.limit
            report = run(made, resume=partial_folder(Path(made.out)).exists())
            found = found_by(report, not options.untimed)
            add(file, key, found)
            print(task, name, report.removed_layers(), found["scores"], flush=True)


if __name__ == "__main__":
    main()
