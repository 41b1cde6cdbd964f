"""Dense and layerwise AttendOut with the demo encoder on every task: ``python benchmarks/tasks.py --data DIR``.

For each task one run: dense fine-tuning, a search that keeps the attention of 3 of the 6 layers, repair by
distillation from the dense model. Every finished run is written to benchmarks/results/tasks_<task>.json at once; runs
that are there already are left out.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from result_files import add, latencies, read, summary

from trimformer.cores import usable_cores
from trimformer.measure.bench.latency import benchmark
from trimformer.pipeline.run import run
from trimformer.pipeline.run_folder import partial_folder
from trimformer.recipe.settings import Recipe
from trimformer.recipe.standard import standard_recipe
from trimformer.report.schema import Report
from trimformer.tasks.settings import TaskSettings
from trimformer.training.settings import TrainingSettings

RESULTS = Path(__file__).parent / "results"
KEEP = 3


def glue(name: str, **others: Any) -> Callable[[Path, Path], dict[str, Any]]:
    return lambda data, work: {"name": name, "data": str(data / "glue"), **others}


def folder(name: str, place: str, **others: Any) -> Callable[[Path, Path], dict[str, Any]]:
    return lambda data, work: {"name": name, "data": str(data / place), **others}


def quora(data: Path, work: Path) -> dict[str, Any]:
    """The balanced Quora split: its dev half to train on, its test half to report on."""
    folder = work / "quora"
    folder.mkdir(parents=True, exist_ok=True)
    for target, source in (("train.tsv.gz", "dev.tsv.gz"), ("dev.tsv.gz", "test.tsv.gz")):
        (folder / target).write_bytes((data / "quora_bimpm" / source).read_bytes())
    return {"name": "qqp", "data": str(folder)}


def mnli(data: Path, work: Path) -> dict[str, Any]:
    """Both parts of MNLI's training rows, and the part of dev-matched."""
    folder = work / "mnli"
    folder.mkdir(parents=True, exist_ok=True)
    parts = [
        gzip.decompress((data / "mnli_subset" / f"{name}.tsv.gz").read_bytes()) for name in ("train", "train_extra")
    ]
    (folder / "train.tsv").write_bytes(parts[0] + parts[1].split(b"\n", 1)[1])
    (folder / "dev_matched.tsv.gz").write_bytes((data / "mnli_subset" / "dev.tsv.gz").read_bytes())
    return {"name": "mnli", "data": str(folder)}


def squad(data: Path, work: Path) -> dict[str, Any]:
    """The part of SQuAD's train questions with SQuADShifts' three sets; every second article of SQuAD's dev."""
    folder = work / "squad"
    folder.mkdir(parents=True, exist_ok=True)
    articles = [{"title": "SQuAD", "paragraphs": tokenised_squad(data / "squad" / "squad_v1.1_train_part4285.tsv.gz")}]
    for name in ("new_wiki", "reddit", "amazon_reviews"):
        content = gzip.decompress((data / "squad" / f"squadshifts_{name}_v1.0.json.gz").read_bytes())
        articles += json.loads(content)["data"]
    (folder / "train-v1.1.json").write_text(json.dumps({"version": "1.1", "data": articles}), encoding="utf-8")
    dev = json.loads(gzip.decompress((data / "squad" / "dev-v1.1.json.gz").read_bytes()))
    dev["data"] = dev["data"][::2]
    (folder / "dev-v1.1.json").write_text(json.dumps(dev), encoding="utf-8")
    return {"name": "squad", "data": str(folder), "max_length": 256, "train_limit": 6000}


def tokenised_squad(path: Path) -> list[dict[str, Any]]:
    """Paragraphs from rows of context, question, answer, first and last answer token; tokens are parted by spaces."""
    paragraphs: dict[str, list[dict[str, Any]]] = {}
    lines = gzip.decompress(path.read_bytes()).decode("utf-8").split("\n")[1:]
    for number, line in enumerate(line for line in lines if line):
        context, question, _, span = line.split("\t")
        first, last = map(int, span.split())
        tokens = context.split(" ")
        start = sum(len(token) + 1 for token in tokens[:first])
        answer = {"text": " ".join(tokens[first : last + 1]), "answer_start": start}
        if not answer["text"]:  # one row has its last token before its first
            continue
        paragraphs.setdefault(context, []).append({"id": f"part-{number}", "question": question, "answers": [answer]})
    return [{"context": context, "qas": questions} for context, questions in paragraphs.items()]


# task: (its settings, epochs of dense fine-tuning, of search, of repair, what of the data was used)
TASKS: dict[str, tuple[Callable[[Path, Path], dict[str, Any]], tuple[float, float, float], str]] = {
    "cola": (glue("cola"), (3, 1, 2), "all"),
    "stsb": (glue("stsb"), (3, 2, 3), "all"),
    "mrpc": (glue("mrpc"), (3, 2, 3), "all"),
    "rte": (glue("rte"), (3, 2, 3), "all"),
    "qqp": (quora, (2, 1, 2), "10,000 train and 10,000 validation pairs of the balanced Quora split"),
    "mnli": (
        mnli,
        (2, 1, 2),
        "12,808 of the 392,702 train rows (full stops are missing in 9,808), 7,469 of dev-matched",
    ),
    "sst2": (glue("sst2", train_limit=16000), (2, 1, 2), "16,000 of the 67,349 train rows, all of dev"),
    "imdb": (
        folder("imdb", "imdb", max_length=256),
        (2, 1, 1),
        "5,000 of 25,000 train and 5,000 of 25,000 test documents",
    ),
    "conll2003": (folder("conll2003", "conll2003"), (3, 1, 1), "all; validation is testa"),
    "ud": (folder("ud", "ud_english_ewt"), (2, 1, 1), "all; validation is dev"),
    "treebank": (
        folder("treebank", "ptb_sample"),
        (4, 2, 3),
        "the NLTK sample, about 10 % of the Wall Street Journal part; files 1-150, 151-175",
    ),
    "squad": (
        squad,
        (2, 1, 1),
        "6,000 questions of SQuAD and SQuADShifts to train on; every second article of SQuAD's dev",
    ),
}


def recipe(task: str, data: Path, work: Path, seed: int) -> Recipe:
    """The recipe of one task."""
    settings, epochs, _ = TASKS[task]
    training = TrainingSettings(learning_rate=1e-4, epochs=epochs[0])
    method: dict[str, Any] = {"name": "attendout", "keep_layers": KEEP}
    made = standard_recipe(
        "demo",
        TaskSettings(**settings(data, work)),
        str(work / f"{task}-{seed}"),
        method=method,
        training=training,
        seed=seed,
    )
    for stage, count in zip(made.stages, epochs[1:], strict=True):
        stage.training = training.model_copy(update={"epochs": count})
    made.measure.backends = ["onnx", "onnx-int8"]
    made.measure.batch = [8]
    return made


def found_by(report: Report, task: str) -> dict[str, Any]:
    """What the table needs from a run."""
    found = summary(report) | {"removed_layers": report.removed_layers(), "part": TASKS[task][2]}
    dense = report.variant("dense")
    assert dense is not None
    task_settings = report.recipe["task"] | {"data": "", "train": "", "validation": ""}
    return found | {
        "flops_length": dense.flops_length,
        "latency_ms": latencies(report),
        "examples": report.task.model_dump(exclude={"source"}),
        "recipe": report.recipe | {"out": "", "task": task_settings},
    }


def measure_speed(options: argparse.Namespace) -> None:
    """Time the finished models again, for a machine on which nothing else runs now."""
    for task in options.tasks:
        file = RESULTS / f"tasks_{task}.json"
        key = f"seed {options.seed}"
        found = read(file)[key]
        out = options.work / f"{task}-{options.seed}"
        models = {"dense": out / "dense" / "model", "trimmed": out / "model"}
        lengths = sorted({time["length"] for time in found["latency_ms"]["dense"]})
        timings = benchmark(models, batch=[8], length=lengths, threads=usable_cores(), backends=["onnx", "onnx-int8"])
        found["latency_ms"] = {
            name: [
                {"backend": t.backend, "batch": t.batch, "length": t.length, "median": t.median_ms, "p95": t.p95_ms}
                for t in timings
                if t.name == name
            ]
            for name in models
        }
        add(file, key, found)
        print(task, {(t.name, t.backend, t.length): t.median_ms for t in timings}, flush=True)


def measure_scores(options: argparse.Namespace) -> None:
    """Run what is missing."""
    for task in options.tasks:
        file = RESULTS / f"tasks_{task}.json"
        key = f"seed {options.seed}"
        if key in read(file):
            continue
        made = recipe(task, options.data, options.work, options.seed)
        report = run(made, resume=partial_folder(Path(made.out)).exists())
        found = found_by(report, task)
        add(file, key, found)
        print(task, report.removed_layers(), found["dense_scores"], found["scores"], flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", required=True, type=Path, help="folder with glue/, imdb/, conll2003/, squad/ and so on"
    )
    parser.add_argument("--work", type=Path, default=Path("runs/tasks"))
    parser.add_argument("--tasks", nargs="+", default=list(TASKS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--speed", action="store_true", help="only time the models of finished runs again")
    options = parser.parse_args()
    (measure_speed if options.speed else measure_scores)(options)


if __name__ == "__main__":
    main()
