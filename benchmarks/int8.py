"""int8 after training beside training for int8 (qat). ``benchmarks/int8.py --data DATA --tasks mrpc sst2 stsb``.

Of the fine-tuned demo encoder 2 of 6 layers keep their attention (attendout), which is repaired for 2 epochs. Then one
run trains on for an epoch as before, and its int8 files are made after training; the other trains for int8 as long.

Every finished run is added to benchmarks/results/int8.json at once, with the score of each of its files, in fp32 and
int8 under ONNX Runtime and OpenVINO; runs that are there already are left out, and a cut one goes on.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path
from typing import Any

from result_files import add, read, summary
from students import anywhere

from trimformer.deploy.export import export
from trimformer.encoder.checkpoints.load import load_tokenizer, load_with_head
from trimformer.pipeline.run import run
from trimformer.pipeline.run_folder import partial_folder
from trimformer.recipe.reading import parse
from trimformer.report.schema import Report
from trimformer.tasks.settings import TaskSettings

FILE = Path(__file__).parent / "results" / "int8.json"
TASKS = {"mrpc": None, "sst2": 8000, "stsb": None}
"""Of each task: rows that are used."""
KEPT = 2
DISTILLED = {"task": 1.0, "logits": 1.0, "hidden": 1.0}
RUNS = {"post-training": "finetune", "qat": "qat"}
"""What the last epoch is trained by."""


def stages(method: str, epochs: float) -> list[dict[str, Any]]:
    """The stages of a run. epochs: of its last one; each stage before has twice as many."""
    rate = {"learning_rate": 1e-4}
    return [
        {
            "name": "search",
            "start": "dense",
            "method": {"name": "attendout", "keep_layers": KEPT},
            "training": rate | {"epochs": 2 * epochs},
        },
        {
            "name": "repair",
            "method": {"name": "finetune"},
            "objective": DISTILLED,
            "training": rate | {"epochs": 2 * epochs},
        },
        {
            "name": "last",
            "method": {"name": method},
            "objective": DISTILLED,
            "training": {"learning_rate": 5e-5, "epochs": epochs},
        },
    ]


def measured(model: Path, task: TaskSettings, folder: Path) -> list[dict[str, Any]]:
    """The files of a model, each with its score and its agreement with fp32."""
    net, tokenizer = load_with_head(model), load_tokenizer(str(model))
    files = [
        file for to in ("onnx", "openvino") for file in export(net, folder / to, to, tokenizer=tokenizer, task=task)
    ]
    return [dataclasses.asdict(file) | {"path": file.path.name} for file in files]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, type=Path, help="folder with glue/")
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=float, default=1.0, help="of the last stage; less for a smoke test")
    parser.add_argument("--rows", type=int, help="of each task, for a smoke test")
    parser.add_argument("--work", type=Path, default=Path("runs/int8"))
    parser.add_argument("--results", type=Path, default=FILE)
    options = parser.parse_args()
    for seed in options.seeds:
        for name in options.tasks:
            limit = options.rows or TASKS[name]
            given = {"name": name, "data": str(options.data / "glue")} | ({"train_limit": limit} if limit else {})
            for kind, method in RUNS.items():
                key, out = f"{name} {kind} seed {seed}", options.work / f"{name}-{seed}" / kind
                if key in read(options.results):
                    continue
                known = out.with_name("post-training") / "dense" / "model"
                content = {
                    "model": "demo",
                    "task": given,
                    "seed": seed,
                    "out": str(out),
                    "stages": stages(method, options.epochs),
                    "export": {"onnx": False},
                    "measure": {"backends": ["torch"], "batch": [8]},
                } | (
                    {"baseline": str(known)}
                    if known.is_dir()
                    else {"dense": {"learning_rate": 1e-4, "epochs": 2 * options.epochs}}
                )
                begin = time.perf_counter()
                if (out / "report.json").is_file():  # cut while its files were measured
                    report = Report.model_validate_json((out / "report.json").read_text("utf-8"))
                else:
                    report = run(parse(content, "these settings"), resume=partial_folder(out).exists())
                files = measured(out / "model", TaskSettings(**given), out / "files")
                found = summary(report) | {"files": files, "minutes": (time.perf_counter() - begin) / 60}
                add(options.results, key, anywhere(found, {str(options.data): "DATA", str(options.work): "WORK"}))
                print(key, report.variant("trimmed").score, *((f["backend"], f["score"]) for f in files), flush=True)


if __name__ == "__main__":
    main()
