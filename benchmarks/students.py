"""Students and searched shapes: what each step brings. ``benchmarks/students.py --data DATA --experiment words``.

words: a BiLSTM and a CNN on SST-2, with labels alone, with the teacher, and with the teacher on augmented rows; beside
the CNN the cells that AdaBERT finds.
tinybert: TinyBERT's general step on plain text and its two task steps, and what is left when one of them is left out;
the controls are the same student trained on labels from random weights, and the teacher's first four layers.
no-labels: half of the attention of a fine-tuned model becomes a mean, trained on its answers or on labels.
embedding: an embedding model with half of its layers and fewer attention layers, trained on texts, and untrained.
architecture: searches of a shape at one cost beside the baselines that they have to beat.

Every finished run is added to benchmarks/results/students_<experiment>.json at once; runs that are there already are
left out, and a cut one goes on. ``--part times``, on a quiet machine: the models of a seed taking turns.
"""

from __future__ import annotations

import argparse
import dataclasses
import gzip
import json
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from result_files import add, read, summary
from search_runs import architecture
from student_tables import EXPERIMENTS

from trimformer.hardware import hardware
from trimformer.measure.bench.latency import benchmark
from trimformer.pipeline.run import run
from trimformer.pipeline.run_folder import partial_folder
from trimformer.recipe.reading import parse
from trimformer.report.schema import Report

RESULTS = Path(__file__).parent / "results"
ROWS, LENGTH = 8000, 32
SENTENCES = 30_000
"""Texts of the general step."""
COPIES = 4
"""Augmented rows that are tried for each training row; a run without them gets as many passes more."""
STEP = 0.5
"""Of each task step of TinyBERT: passes over the rows and their copies."""
TASKS = {"sst2": (ROWS, 1.5), "mrpc": (None, 3), "rte": (None, 3), "cola": (None, 3)}
"""Of each task: rows that are used, and epochs of the teacher."""

Stage = dict[str, Any]


def passes(count: float, augmented: bool) -> float:
    """Epochs that see as many rows as ``count`` passes over the given rows and their copies."""
    return count if augmented else count * (1 + COPIES)


def words(start: Stage) -> dict[str, list[Stage]]:
    """The runs of a student without attention."""
    made = {}
    for name, objective, augmented in (
        ("labels", {"task": 1.0}, False),
        ("teacher", {"task": 0.0, "logits": 1.0, "logits_distance": "squared"}, False),
        ("augmented", {"task": 0.0, "logits": 1.0, "logits_distance": "squared"}, True),
    ):
        training = {"epochs": passes(2, augmented), "batch_size": 50, "learning_rate": 1e-3}
        stage = {"start": start, "method": "finetune", "objective": objective, "training": training}
        made[f"{start['name']}-{name}"] = [stage | ({"augment": masking()} if augmented else {})]
    return made


def adabert() -> dict[str, list[Stage]]:
    """Cells in the place of the CNN's layers; a search and a training with half of the passes each."""
    training = {"epochs": passes(2, False) / 2, "batch_size": 50, "learning_rate": 1e-3}
    search = {"start": {"name": "cnn"}, "method": {"name": "adabert"}, "training": training}
    objective = {"task": 0.0, "logits": 1.0, "logits_distance": "squared"}
    return {"adabert": [search, {"method": "finetune", "objective": objective, "training": training}]}


def masking() -> Stage:
    return {"name": "masking", "copies": COPIES}


def replacement(options: argparse.Namespace) -> Stage:
    glove = next((options.data / "glove_twitter_25d_12k").glob("*.gz"), None)
    return {"name": "word-replacement", "copies": COPIES} | ({"glove": str(glove)} if glove else {})


def tinybert(options: argparse.Namespace, general: Path) -> dict[str, list[Stage]]:
    """The recipe with both of its steps, and what it is compared with; all see as many rows after the teacher."""
    fresh = {"name": "student", "shape": "tinybert4"}
    taught = {"name": "student", "checkpoint": str(general / "model")}
    first = {"name": "student", "layers": [0, 1, 2, 3]}

    def steps(start: Stage, augmented: bool = True) -> list[Stage]:
        extra = {"augment": replacement(options)} if augmented else {}
        inner = {"task": 0, "embeddings": 1.0, "hidden": 4.0, "attention": 4.0}
        rate = {"batch_size": 32, "learning_rate": 3e-4}
        return [
            {"start": start, "method": "finetune", "objective": inner} | extra
            | {"training": rate | {"epochs": passes(STEP, augmented), "schedule": "constant", "warmup": 0,
                                   "keep_best": False}},
            {"method": "finetune", "objective": {"task": 0, "logits": 1.0}} | extra
            | {"training": rate | {"epochs": passes(STEP, augmented), "learning_rate": 1e-4}},
        ]  # fmt: skip

    def labels(start: Stage) -> list[Stage]:
        training = {"epochs": passes(2 * STEP, False), "batch_size": 32, "learning_rate": 1e-4}
        return [{"start": start, "method": "finetune", "objective": {"task": 1.0}, "training": training}]

    return {
        "whole": steps(taught),
        "no-general": steps(fresh),
        "no-augmentation": steps(taught, augmented=False),
        "general-labels": labels(taught),
        "first-four": labels(first),
        "from-scratch": labels(fresh),
    }


def no_labels() -> dict[str, list[Stage]]:
    """Three of six attention layers become a mean; what the objective asks of labels is not there without them."""
    made = {}
    for name in ("no-labels", "labels"):
        made[name] = [
            {"method": {"name": "last-k", "keep_layers": 3}},
            {
                "method": "finetune",
                "objective": {"task": 1.0, "logits": 1.0, "hidden": 1.0},
                "training": {"epochs": 2, "learning_rate": 1e-4},
            },
        ]
    return made


def embedding() -> dict[str, list[Stage]]:
    """Half of the layers, the attention of half of these a mean, from texts alone; and the same left as it is cut."""
    half: list[Stage] = [
        {"start": {"name": "student", "layers": "distil"}, "method": {"name": "last-k", "keep_layers": 3}}
    ]
    objective = {"task": 0.0, "logits": 1.0, "similarities": 1.0}
    training = {"epochs": 3, "learning_rate": 2e-4, "batch_size": 32}
    return {
        "cut": half,
        "distilled": [*half, {"method": "finetune", "objective": objective, "training": training}],
    }


def texts_of(path: Path) -> Iterator[str]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from (line.strip() for line in lines if 30 <= len(line.strip()) <= 200)


def corpus(options: argparse.Namespace, target: Path, count: int) -> str:
    """A file of sentences drawn from the corpora, a third of each, made once."""
    if not target.is_file():
        drawn: list[str] = []
        for name in ("brown", "reuters21578_bodies", "gutenberg_24books"):
            found = list(texts_of(options.data / "corpus" / f"{name}.txt.gz"))
            drawn += random.Random(0).sample(found, count // 3)
        written(target, drawn)
    return str(target)


def general(options: argparse.Namespace, folder: Path, file: Path) -> Path:
    """TinyBERT's general step, once for all tasks and seeds. file: the results that it is added to."""
    out = folder / "general"
    if not out.exists():
        objective = {"task": 0.0, "embeddings": 1.0, "hidden": 1.0, "attention": 1.0}
        content = {
            "model": "demo",
            "task": {"name": "text", "texts": [corpus(options, folder / "corpus.txt", SENTENCES)], "max_length": 64},
            "stages": [
                {
                    "name": "general",
                    "start": {"name": "student", "shape": "tinybert4"},
                    "method": {"name": "finetune"},
                    "objective": objective,
                    "training": {"epochs": 1, "learning_rate": 5e-4},
                }
            ],
        }
        report = done(content, out, 0)
        add(file, "general", found_by(report, out))
    return out


def done(content: dict[str, Any], out: Path, seed: int) -> Report:
    """The report of a run, which goes on where it was cut."""
    measured = {"measure": {"backends": ["torch"], "batch": [8]}, "export": {"onnx": False}}
    made = parse(content | measured | {"out": str(out), "seed": seed}, "these settings")
    return run(made, resume=partial_folder(out).exists())


def found_by(report: Report, out: Path) -> dict[str, Any]:
    """What the table needs from a run."""
    recipe = report.recipe | {"out": "", "baseline": "dense"} | {"task": report.recipe["task"] | {"data": "glue"}}
    examples = report.task.model_dump() | {"source": "GLUE"}
    size = (out / "model" / "model.safetensors").stat().st_size / 1e6
    return summary(report) | {"examples": examples, "recipe": recipe, "megabytes": size}


def anywhere(found: Any, places: dict[str, str]) -> Any:
    """The same without the folders of this machine."""
    text = json.dumps(found)
    for path, name in places.items():
        text = text.replace(path, name)
    return json.loads(text)


def teacher(options: argparse.Namespace, task: str, seed: int, file: Path) -> str:
    """The fine-tuned model that the runs of a task and seed learn from. file: the results that it is added to."""
    limit, epochs = TASKS[task]
    out = options.work / f"{task}-{seed}" / "dense"
    if not out.exists():
        settings = {"name": task, "data": str(options.data / "glue")} | ({"train_limit": limit} if limit else {})
        training = {"learning_rate": 1e-4, "epochs": epochs}
        all_stay = {"name": "all-stay", "start": "dense", "method": {"name": "last-k", "keep_layers": 6}}
        report = done({"model": "demo", "task": settings, "dense": training, "stages": [all_stay]}, out, seed)
        add(file, f"{task} dense seed {seed}", found_by(report, out))
    return str(out / "dense" / "model")


def sentences(options: argparse.Namespace, target: Path) -> str:
    """The sentences of SST-2 that the labelled run has, without their labels."""
    drawn = random.Random(1).sample(list(table(options, "SST-2", "train")), ROWS)
    return written(target, [text.strip() for text, _ in drawn])


def runs_of(options: argparse.Namespace, task: str, seed: int, file: Path) -> dict[str, dict[str, Any]]:
    """The recipes of an experiment."""
    glue, folder = options.data / "glue", options.work / f"{task}-{seed}"
    limit, _ = TASKS.get(task, (None, 0))
    labelled = {"name": task, "data": str(glue)} | ({"train_limit": limit} if limit else {})
    if options.experiment == "embedding":
        # Texts of STS-B's training couples without their scores, and as many of the corpora.
        halves = dict.fromkeys(text for row in table(options, "STS-B", "train") for text in row[7:9])
        couples = ["\t".join(row[7:10]) for row in table(options, "STS-B", "dev")]
        data = written(folder / "stsb.tsv", ["one\ttwo\tscore", *couples])
        texts = {
            "texts": [corpus(options, folder / "texts.txt", options.texts), written(folder / "halves.txt", halves)]
        }
        held = {"kind": "embedding", "validation": data, "text": "one", "text_pair": "two", "label": "score"}
        settings = texts | held
        return {name: {"model": options.base, "task": settings, "stages": stages}
                for name, stages in embedding().items()}  # fmt: skip
    base = {"model": "demo", "task": labelled, "baseline": teacher(options, task, seed, file)}
    if options.experiment == "words":
        found = words({"name": "bilstm"}) | words({"name": "cnn"}) | adabert()
    elif options.experiment == "tinybert":
        found = tinybert(options, general(options, options.work, file))
    elif options.experiment == "architecture":
        found = architecture()
    else:
        found = no_labels()
    made = {name: base | {"stages": stages} for name, stages in found.items()}
    if options.experiment == "no-labels":
        texts = sentences(options, folder / "texts.txt")
        rows = ["\t".join(row) for row in table(options, "SST-2", "dev")]
        data = written(folder / "dev.tsv", ["sentence\tlabel", *rows])
        made["no-labels"]["task"] = {"texts": [texts], "validation": data, "text": "sentence", "label": "label"}
        made["no-labels"]["model"] = base["baseline"]
        del made["no-labels"]["baseline"]
    return made


def table(options: argparse.Namespace, task: str, split: str) -> Iterator[list[str]]:
    """The rows of a GLUE task's original file without its header."""
    with gzip.open(options.data / "glue" / task / f"{split}.tsv.gz", "rt", encoding="utf-8") as lines:
        next(lines)
        yield from (line.rstrip("\n").split("\t") for line in lines)


def written(target: Path, lines: Iterable[str]) -> str:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(target)


def times(options: argparse.Namespace, task: str, seed: int) -> None:
    """The models of a seed that are there."""
    folder = options.work / f"{task}-{seed}"
    models = {one.name: one / "model" for one in sorted(folder.iterdir()) if (one / "model").is_dir()}
    dense = {"dense": folder / "dense" / "dense" / "model"} if task in TASKS else {"dense": Path(options.base)}
    models = dense | {name: path for name, path in models.items() if name != "dense"}
    timings = benchmark(models, batch=[1], length=[LENGTH], threads=1, backends=["torch", "onnx", "onnx-int8"])
    found = {"hardware": hardware(), "timings": [dataclasses.asdict(timing) for timing in timings]}
    add(RESULTS / f"students_{options.experiment}.json", f"{task} times seed {seed}", found)
    print(task, *((t.name, t.backend, t.median_ms, t.skipped) for t in timings), sep="\n", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, type=Path, help="folder with glue/, corpus/, glove_twitter_25d_12k/")
    parser.add_argument("--experiment", required=True, choices=EXPERIMENTS)
    parser.add_argument("--part", choices=["runs", "times"], default="runs")
    parser.add_argument("--work", type=Path, default=Path("runs/students"))
    parser.add_argument("--tasks", nargs="+", default=["sst2"], help="of tinybert: sst2, mrpc, rte, cola")
    parser.add_argument("--runs", nargs="+", help="default: all of the experiment")
    parser.add_argument("--base", default="demo", help="the embedding model that is made smaller")
    parser.add_argument("--texts", type=int, default=6000, help="for the embedding model")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    file = RESULTS / f"students_{options.experiment}.json"
    tasks = ["embedding"] if options.experiment == "embedding" else options.tasks
    for task in tasks:
        if options.part == "times":
            times(options, task, options.seed)
            continue
        for name, content in runs_of(options, task, options.seed, file).items():
            key = f"{task} {name} seed {options.seed}"
            if key in read(file) or (options.runs and name not in options.runs):
                continue
            stages = [{"name": f"stage-{number}"} | stage for number, stage in enumerate(content["stages"])]
            for stage in stages:
                stage["method"] = {"name": stage["method"]} if isinstance(stage["method"], str) else stage["method"]
            if "start" not in stages[0]:
                stages[0]["start"] = "dense"
            out = options.work / f"{task}-{options.seed}" / name
            report = done(content | {"stages": stages}, out, options.seed)
            found = found_by(report, out)
            places = {str(options.data): "DATA", str(options.work): "WORK"}
            add(file, key, anywhere(found, places))
            print(task, name, found["dense_scores"], found["scores"], flush=True)


if __name__ == "__main__":
    main()
