"""What a user would pick instead, measured in one run on the same weights and data: ``python benchmarks/peers.py``.

    python benchmarks/peers.py --prepare                    # once: installs the peers into runs/peers/packages
    python benchmarks/peers.py --part speed
    python benchmarks/peers.py --part score --data DATA     # trains; a cut run goes on where it stopped
    python benchmarks/peers.py --part times --data DATA     # times the models of the part before

Speed: BERT-base shape with random weights, all variants taking turns in one run. Score: the demo encoder, fine-tuned;
each peer prunes it to the operations that our trimmed model has, and gets the same training after it. All that is
measured goes into benchmarks/results/peers.json at once.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import peer_tables
from peer_exports import stock_exports
from peer_models import PRUNERS, check_prepared, prepare, prune, random_rows, versions
from peer_scores import DENSE, models_of, read_splits, recipe_of, scored, scores, trained
from peer_torchao import torchao_variants
from result_files import add

from trimformer.deploy.session import torch_threads
from trimformer.encoder.checkpoints.load import load, load_with_head
from trimformer.encoder.model.heads import TrimformerForSequenceClassification
from trimformer.hardware import hardware
from trimformer.measure.bench.latency import Timing, make_workloads, time_variants
from trimformer.measure.bench.variants import Variant, available_backends, make_variants
from trimformer.measure.cost import cost
from trimformer.pipeline.results import default_lengths

RESULTS = Path(__file__).parent / "results" / "peers.json"
WORK = Path("runs") / "peers"
SHAPES = [(4, 256), (1, 128)]
FLOPS_LENGTH = 256  # at which the pruned models have the operations of ours
BASE = "shape:bert-base"
OURS = {name: f"{BASE},attention=2-11={name.split()[0]}" for name in ("mean 2-11", "none 2-11")}
STOCK = ["eager", "sdpa", "compile"]
EXPORTS = ["onnx", "onnx-int8", "openvino-bf16", "openvino-int8"]
NAMES = (DENSE, "torchao", *PRUNERS, *OURS)


def speed(given: argparse.Namespace) -> None:
    """All variants in one run; the pruned models in this package's encoder and exports, which suit them."""
    exports = installed(EXPORTS)
    dense = load(BASE)
    assert isinstance(dense, TrimformerForSequenceClassification)
    models: dict[str, Any] = {DENSE: dense}
    models |= {name: load(shape) for name, shape in OURS.items() if name in given.only}
    flops = cost(load(OURS["mean 2-11"]), FLOPS_LENGTH).flops
    rows = random_rows(dense.config.vocab_size)
    models |= {peer: prune(peer, dense, rows, flops, FLOPS_LENGTH) for peer in PRUNERS if peer in given.only}
    with tempfile.TemporaryDirectory() as temporary, torch_threads(given.threads):
        variants: list[Variant] = []
        for name in dict.fromkeys((DENSE, *given.only)):
            backends = ["torch", *exports]
            if name == DENSE:  # its eager PyTorch is what all factors refer to
                backends = [*STOCK, *exports] if name in given.only else STOCK[:1]
            if name == "torchao":
                variants += torchao_variants(dense)
            else:
                folder = Path(temporary) / name.replace(" ", "-")
                variants += make_variants({name: models[name]}, backends, given.threads, folder)
            if name == DENSE and name in given.only:
                variants += stock_exports(dense, Path(temporary) / "stock", given.threads)
        entry: dict[str, Any] = {
            "command": f"python benchmarks/peers.py --part speed --threads {given.threads} --repeats {given.repeats}",
            "hardware": hardware(),
            "packages": versions(),
            "flops": {name: [cost(model, n).flops for _, n in SHAPES] for name, model in models.items()},
            "shapes": {name: [[s.heads, s.ffn] for s in model.config.shapes] for name, model in models.items()},
            "timings": [],
        }

        def done(timings: list[Timing]) -> None:
            entry["timings"] += [dataclasses.asdict(timing) for timing in timings]
            if set(given.only) == set(NAMES):
                add(RESULTS, "speed", entry)

        time_variants(
            variants, make_workloads(variants, SHAPES), threads=given.threads, repeats=given.repeats, done=done
        )
    for row in peer_tables.speed({"speed": entry})[1]:
        print(*row, sep=" | ", flush=True)


def score(given: argparse.Namespace) -> None:
    """Train what is not there yet, then score every model on every back-end."""
    for task, seed in [(task, seed) for seed in given.seeds for task in given.tasks]:
        recipe = recipe_of(task, seed, given.data, WORK)
        dense_folder = trained(recipe)
        splits = read_splits(recipe, dense_folder)
        reference = scored(load_with_head(dense_folder), splits)
        found: dict[str, Any] = {
            "command": f"python benchmarks/peers.py --part score --data DATA --tasks {task} --seeds {seed}",
            "hardware": hardware(),
            "rows": [len(splits.train), len(splits.selection), len(splits.validation)],
            "epochs": [recipe.dense.epochs, *(stage.training.epochs for stage in recipe.stages)],
            "learning_rate": recipe.dense.learning_rate,
            "metric": splits.task.metrics[0],
            "results": [],
        }
        with tempfile.TemporaryDirectory() as files:
            for name, model in models_of(recipe, dense_folder):
                for result in scores(name, model, reference, splits, Path(files), installed(EXPORTS[1:])):
                    found["results"].append(result)
                    add(RESULTS, f"score {task} seed {seed}", found)
                    print(task, seed, name, result["backend"], result["scores"], flush=True)


def times(given: argparse.Namespace) -> None:
    """The fine-tuned models in turns, batch 8 at the mean length of the validation texts."""
    for task in given.tasks:
        recipe = recipe_of(task, given.seeds[0], given.data, WORK)
        dense_folder = trained(recipe)
        models, splits = dict(models_of(recipe, dense_folder)), read_splits(recipe, dense_folder)
        exports = installed(EXPORTS)
        with tempfile.TemporaryDirectory() as folder, torch_threads(given.threads):
            variants: list[Variant] = []
            for name, model in models.items():
                backends = ["eager", "sdpa", *exports] if name == DENSE else ["torch", *exports]
                variants += make_variants({name: model}, backends, given.threads, Path(folder) / name, splits.train)
            workloads = make_workloads(variants, [(8, default_lengths(splits.validation)[0])])
            timings = time_variants(variants, workloads, threads=given.threads, repeats=given.repeats)
        entry = {
            "command": f"python benchmarks/peers.py --part times --data DATA --tasks {task} --seeds {given.seeds[0]}",
            "hardware": hardware(),
            "timings": [dataclasses.asdict(timing) for timing in timings],
        }
        add(RESULTS, f"times {task}", entry)


def installed(backends: list[str]) -> list[str]:
    return [backend for backend in backends if backend in available_backends()]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--prepare", action="store_true", help="install the peers, and do nothing else")
    parser.add_argument("--part", nargs="+", choices=["speed", "score", "times"], default=["speed", "score", "times"])
    parser.add_argument("--data", type=Path, help="folder with glue/, for score and times")
    parser.add_argument("--tasks", nargs="+", default=["mrpc", "sst2"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument(
        "--only", nargs="+", choices=NAMES, default=NAMES, help="models of the speed part; only a run of all is kept"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=10, help="least number of timed passes")
    given = parser.parse_args()
    if given.prepare:
        prepare()
        return
    check_prepared()
    if given.data is None and given.part != ["speed"]:
        parser.error("--part score and times need --data")
    for part in given.part:
        {"speed": speed, "score": score, "times": times}[part](given)


if __name__ == "__main__":
    main()
