"""SparseBERT on two cores: ``benchmarks/sparsebert.py --data DATA --part study``.

An encoder of six layers is pre-trained on masked tokens: a small one from scratch, or the demo encoder goes on.
study: how much each position of attention counts.
removed: all positions, all but the diagonal, and all but as many random ones, trained alike; held-out loss, and the
score of each on labelled tasks after a fine-tuning.
dam: masks that are learned, by structure and λ, then fixed; beside each structured one as many distances for each head,
drawn at random, and the shortest; all are trained alike, and so is the dense encoder.
patterns: those that are written down, at the length of the rows, each trained alike.

Every finished run is added to benchmarks/results/sparsebert.json at once; runs that are there already are left out, and
a cut one goes on.
"""

from __future__ import annotations

import argparse
import random
import shlex
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from result_files import add, read, summary
from students import anywhere, done

from trimformer import TrimformerModel, load, trim
from trimformer.encoder.checkpoints.load import load_tokenizer
from trimformer.encoder.checkpoints.shapes import uniform_config
from trimformer.encoder.parts.patterns.base import read as read_pattern
from trimformer.encoder.parts.patterns.learned import packed
from trimformer.files import atomic_folder
from trimformer.report.schema import Report

FILE = Path(__file__).parent / "results" / "sparsebert.json"
CORPORA = ("brown", "gutenberg_24books", "reuters21578_bodies", "imdb_train_rest_text")
ORIGINS = {"scratch": (1e-3, 32_000), "continued": (2e-4, 4_000)}
"""Learning rate, and rows of 128 tokens that are trained on."""
SMALL = (6, 128, 4, 512)
"""From scratch: layers, hidden size, heads, units of the feed-forward block."""
STRUCTURES = ("structured", "unstructured")
TASKS: dict[str, tuple[dict[str, Any], float]] = {
    "sst2": ({"train_limit": 8000}, 1.5),
    "mrpc": ({}, 3),
    "cola": ({}, 3),
    "rte": ({}, 3),
    "stsb": ({}, 3),
    "imdb": ({"train_limit": 4000, "max_length": 512}, 1),
}
"""Of each task: settings beside its files, and epochs; of IMDB, whose reviews are long, few rows."""
PATTERNS: dict[str, dict[str, Any]] = {
    "window": {"window": 2},
    "star": {},
    "longformer": {"window": 12},
    "bigbird": {"window": 6},
    "logsparse": {},
    "fixed": {},
    "strided": {},
    "no-diagonal": {},
}
"""With settings that leave out about as much as learned masks."""
TUNE = 0.5
"""Passes with the mask fixed, as a share of those in which it is learned."""

Content = dict[str, Any]


def training(options: argparse.Namespace, origin: str, share: float = 1.0) -> Content:
    """The same for all runs of an origin: nothing is chosen on the way."""
    return {"epochs": share * options.epochs, "batch_size": 32, "learning_rate": ORIGINS[origin][0], "keep_best": False}


def started(origin: str, folder: Path, seed: int, attention: Any = None) -> str:
    """A folder with the encoder that a run starts from. attention: of all layers; None: as they are."""
    if not folder.is_dir():
        torch.manual_seed(seed)
        body = TrimformerModel(uniform_config(*SMALL)) if origin == "scratch" else load("demo")
        if attention is not None:
            kinds = attention if isinstance(attention, list) else [attention] * body.config.num_hidden_layers
            body = trim(body, attention=dict(enumerate(kinds)))
        folder.parent.mkdir(parents=True, exist_ok=True)
        with atomic_folder(folder) as temporary:
            body.save_pretrained(temporary)
            load_tokenizer("demo").save_pretrained(temporary)
    return str(folder)


def text(options: argparse.Namespace, origin: str) -> Content:
    files = [str(options.data / "corpus" / f"{name}.txt.gz") for name in CORPORA]
    rows = options.rows or ORIGINS[origin][1]
    return {"name": "text", "texts": files, "packed": True, "max_length": options.length, "train_limit": rows}


def pre_trained(
    options: argparse.Namespace, key: str, model: str, stages: list[Content], more: Callable[[Report], Content]
) -> Path:
    """The folder of a run on masked tokens, done once. more: what else the results keep of its report."""
    out = options.work / key.replace(" ", "-")
    origin, seed = key.split()[1], int(key.rpartition(" ")[2])
    report = None
    if not out.is_dir():
        report = done({"model": model, "task": text(options, origin), "stages": stages}, out, seed)
    if key not in read(FILE):
        report = report or Report.model_validate_json((out / "report.json").read_text("utf-8"))
        share = {"sparsity": sparsity(out / "model", options.length)}
        written(options, key, report, share | more(report))
    return out


def written(options: argparse.Namespace, key: str, report: Report, more: Content) -> None:
    """Add a run to the results."""
    command = {"command": shlex.join(["benchmarks/sparsebert.py", *sys.argv[1:]])}
    settings = {"recipe": report.recipe | {"out": ""}, "examples": report.task.model_dump()}
    places = {str(options.data): "DATA", str(options.work): "WORK"}
    add(FILE, key, anywhere(command | summary(report) | settings | more, places))
    trimmed = report.variant("trimmed")
    print(key, trimmed.scores if trimmed else "", more.get("sparsity", ""), flush=True)


def fine_tuned(options: argparse.Namespace, key: str, model: Path) -> None:
    """The score of a pre-trained encoder on each task."""
    name, _, seed = key.rpartition(" seed ")
    for task in options.tasks:
        own = f"{name} {task} seed {seed}"
        if own in read(FILE):
            continue
        more, epochs = TASKS[task]
        settings = {"name": task, "data": str(options.data / ("imdb" if task == "imdb" else "glue"))} | more
        all_stay = {"name": "all-stay", "start": "dense", "method": {"name": "depth", "keep": 6}}
        content = {
            "model": str(model / "model"), "task": settings, "stages": [all_stay],
            "dense": {"epochs": epochs, "learning_rate": 1e-4},
        }  # fmt: skip
        out = options.work / own.replace(" ", "-")
        written(options, own, done(content, out, int(seed)), {})


def sparsity(model: Path, length: int) -> float:
    """The share of the positions of texts of this length that the layers leave out."""
    shapes = load(model).config.shapes
    patterns = [(shape.own.get("pattern"), shape.heads) for shape in shapes]
    return statistics.mean(read_pattern(own).sparsity(length, heads) if own else 0.0 for own, heads in patterns)


def nothing(report: Report) -> Content:
    """Nothing else is kept of a report."""
    return {}


def importance(report: Report) -> Content:
    """The means of kinds of positions, and of each distance."""
    (found,) = report.positions.values()
    maps = []
    for one in found.maps:
        values = torch.tensor(one.values)
        n = len(values)
        distances = [torch.cat([values.diagonal(k), values.diagonal(-k)]).mean().item() for k in range(n)]
        groups = [group.model_dump() for group in one.groups]
        maps.append({"layer": one.layer, "groups": groups, "by_distance": [round(mean, 4) for mean in distances]})
    return {"importance": {"length": found.length, "special": found.special, "maps": maps}}


def study(options: argparse.Namespace, origin: str) -> None:
    method = {"name": "position-importance", "per_layer": options.per_layer}
    stage = {"name": "study", "start": "dense", "method": method, "training": training(options, origin)}
    name = f"study {origin}" + (" per-layer" if options.per_layer else "")
    model = started(origin, options.work / f"start-{origin}-full-{options.seed}", options.seed)
    pre_trained(options, f"{name} seed {options.seed}", model, [stage], importance)


def random_mask(length: int, seed: int) -> str:
    """All positions but as many as the diagonal has, drawn among the others."""
    drawn = random.Random(seed)
    free = [(i, j) for i in range(length) for j in range(length) if i != j]
    mask = torch.ones(length, length, dtype=torch.bool)
    for i, j in drawn.sample(free, length):
        mask[i, j] = False
    return packed(mask)


def removed(options: argparse.Namespace, origin: str) -> None:
    heads = SMALL[2] if origin == "scratch" else load("demo").config.shapes[0].heads
    masks = [random_mask(options.length, options.seed)] * heads
    pattern = {"name": "positions", "length": options.length, "masks": masks}
    kinds: Content = {
        "full": None,
        "no-diagonal": "sparse-no-diagonal",
        "random": {"kind": "sparse", "pattern": pattern},
    }
    for name, attention in kinds.items():
        if options.runs and name not in options.runs:
            continue
        stage = {
            "name": "train",
            "start": "dense",
            "method": {"name": "finetune"},
            "training": training(options, origin),
        }
        place = options.work / f"start-{origin}-{name}-{options.seed}"
        model = started(origin, place, options.seed, attention)
        key = f"removed {origin} {name} seed {options.seed}"
        fine_tuned(options, key, pre_trained(options, key, model, [stage], nothing))


def dam(options: argparse.Namespace, origin: str) -> None:
    tune = {"name": "tune", "method": {"name": "finetune"}, "training": training(options, origin, TUNE)}
    plain = {"name": "plain", "start": "dense", "method": {"name": "finetune"}, "training": training(options, origin)}
    full = started(origin, options.work / f"start-{origin}-full-{options.seed}", options.seed)

    def finished(name: str, model: str, first: Content) -> Path | None:
        if options.runs and name not in options.runs:
            return None
        key = f"dam {origin} {name} seed {options.seed}"
        out = pre_trained(options, key, model, [first, tune], nothing)
        fine_tuned(options, key, out)
        return out

    finished("dense", full, plain)
    for structure in STRUCTURES:
        for penalty in options.penalties:
            method = {"name": "dam", "structure": structure, "penalty": penalty}
            first = {"name": "mask", "start": "dense", "method": method, "training": training(options, origin)}
            learned = finished(f"{structure} {penalty:g}", full, first)
            if learned is None or structure != "structured":
                continue
            patterns = [shape.own["pattern"] for shape in load(learned / "model").config.shapes]
            for control in ("random", "nearest"):
                kinds = [{"kind": "sparse", "pattern": like(pattern, control, options)} for pattern in patterns]
                name = f"{control} {penalty:g}"
                place = options.work / f"start-{origin}-{control}-{penalty:g}-{options.seed}"
                model = started(origin, place, options.seed, kinds)
                finished(name, model, plain)


def like(pattern: Content, control: str, options: argparse.Namespace) -> Content:
    """As many distances for each head, drawn at random or the shortest."""
    drawn = random.Random(options.seed)
    every = range(options.length)
    chosen = [
        sorted(drawn.sample(every, len(own))) if control == "random" else list(range(len(own)))
        for own in pattern["offsets"]
    ]
    return pattern | {"offsets": chosen}


def patterns(options: argparse.Namespace, origin: str) -> None:
    for name, settings in PATTERNS.items():
        if options.runs and name not in options.runs:
            continue
        attention = {"kind": "sparse", "pattern": {"name": name} | settings}
        model = started(origin, options.work / f"start-{origin}-{name}-{options.seed}", options.seed, attention)
        method = {"name": "finetune"}
        stage = {"name": "train", "start": "dense", "method": method, "training": training(options, origin)}
        key = f"patterns {origin} {name} seed {options.seed}"
        fine_tuned(options, key, pre_trained(options, key, model, [stage], nothing))


PARTS = {"study": study, "removed": removed, "dam": dam, "patterns": patterns}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, type=Path, help="folder with glue/, imdb/ and corpus/")
    parser.add_argument("--part", required=True, choices=PARTS)
    parser.add_argument("--work", type=Path, default=Path("runs/sparsebert"))
    parser.add_argument("--origins", nargs="+", choices=list(ORIGINS), default=list(ORIGINS))
    parser.add_argument(
        "--tasks", nargs="*", choices=list(TASKS), default=["sst2", "mrpc"], help="none: held-out loss alone"
    )
    parser.add_argument(
        "--runs", nargs="+", help="of all parts but study, such as full, star or 'structured 0.0001'; default: all"
    )
    parser.add_argument("--penalties", nargs="+", type=float, default=[1e-5, 1e-4, 1e-3], help="λ of dam")
    parser.add_argument("--per-layer", action="store_true", help="study: factors of each layer")
    parser.add_argument("--length", type=int, default=128, help="tokens of a row")
    parser.add_argument("--rows", type=int, help="rows that are trained on; default: 32,000 from scratch, else 4,000")
    parser.add_argument("--epochs", type=float, default=1, help="passes over them")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for origin in options.origins:
        PARTS[options.part](options, origin)


if __name__ == "__main__":
    main()
