"""A published search of input dimensions, scaled down: ``benchmarks/nas_report.py --data DATA --tasks rte --seed 0``.

A student report ("Neural Architecture Search on BERT for Network Compression") searches which input dimensions queries,
keys and values need to read, inside TinyBERT's distillation, and concludes that these hold little redundancy. Here
recipes/nas-report.yaml runs with the demo encoder as teacher, the general student of ``students.py``, fewer epochs and
8,000 rows of SST-2, beside the controls that the report lacks. ``--part inputs``:

tinybert: the two last steps alone with nothing cut, which is what the report compares with.
trained-on: all four steps with nothing cut: the same extra training without a search.
search …: without a cost, and with a target of 0.5, 0.75 and 1.0 of the dimensions.
random …: the two last steps with as many dimensions of each layer as that search has left, drawn at random.

``--part others``: searches, and their random controls, of what the report did not reach: the dimensions of queries and
keys and of values, the feed-forward units, and the heads.

Every finished run is added to benchmarks/results/nas_report.json at once; runs that are there already are left out, and
a cut one goes on.
"""

from __future__ import annotations

import argparse
import copy
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from result_files import add, read
from students import TASKS as ROWS_AND_EPOCHS
from students import anywhere, done, found_by, general, teacher

from trimformer import load
from trimformer.encoder.shape.config import TrimformerConfig
from trimformer.methods.architecture.spaces import sizes_of

HERE = Path(__file__).parent
FILE = HERE / "results" / "nas_report.json"
STEPS = yaml.safe_load((HERE.parent / "recipes" / "nas-report.yaml").read_text("utf-8"))["stages"]
"""The four that train: two with the search, two without."""
EPOCHS = {"sst2": 1.0, "rte": 4.0, "cola": 2.0}
"""Of each step; the report has ten."""
RATES = {"intermediate": 3e-4, "prediction": 1e-4}
"""Of each kind of step, larger than the report's, because there are fewer steps."""
PARTS: dict[str, dict[str, Any]] = {
    "inputs": {"no-cost": {"target": 1.0, "cost_weight": 0}} | {str(own): {"target": own} for own in (0.5, 0.75, 1.0)},
    "others": {
        "query_key and values": {"spaces": ["query_key", "values"], "target": 0.75},
        "ffn": {"spaces": ["ffn"], "target": 0.75},
        "heads": {"spaces": ["heads"], "keep_heads": 9, "target": 0.75},
    },
}
"""The searches by name, and what they ask for beside the recipe. A student has 12 heads."""

Stage = dict[str, Any]


def step(number: int, epochs: float, **changes: Any) -> Stage:
    """A step of the recipe with our training. changes: of its settings; None: it has no such setting."""
    made = copy.deepcopy(STEPS[number]) | changes
    kind = made["name"].rpartition("-")[2]
    made["training"] |= {"epochs": epochs, "learning_rate": RATES[kind]}
    return {name: value for name, value in made.items() if value is not None}


def stages(name: str, epochs: float, student: str, asked: Stage, stay: Stage | None = None) -> list[Stage]:
    """The stages of a run. asked: of a search. stay: how many dimensions stay in each layer of a random control."""
    start, nothing = {"name": "student", "checkpoint": student}, {"name": "finetune"}
    anew = step(2, epochs, start=start | {"cut": "previous"})
    if name == "tinybert":
        return [step(2, epochs, start=start), step(3, epochs)]
    if name == "trained-on":
        extra = [step(0, epochs, start=start, method=nothing), step(1, epochs, method=nothing)]
        return [*extra, step(2, epochs, start=None), step(3, epochs)]
    if stay is not None:
        draw = {"name": "draw", "start": start, "method": {"name": "random-dimensions", "stay": stay}}
        return [draw, anew, step(3, epochs)]
    searches = [copy.deepcopy(STEPS[number]["method"]) | asked for number in (0, 1)]
    return [
        step(0, epochs, start=start, method=searches[0]),
        step(1, epochs, method=searches[1]),
        anew,
        step(3, epochs),
    ]


def runs(options: argparse.Namespace, task: str, student: str) -> Iterator[tuple[str, list[Stage], list[str]]]:
    """Name, stages and searched spaces of each run that is not measured yet, a random control behind its search."""
    epochs = options.epochs or EPOCHS[task]
    controls: list[str] = ["tinybert", "trained-on"] if options.part == "inputs" else []

    def wanted(name: str) -> bool:
        return f"{task} {name} seed {options.seed}" not in read(FILE) and name in (options.runs or [name])

    for name in filter(wanted, controls):
        yield name, stages(name, epochs, student, {}), []
    for own, asked in PARTS[options.part].items():
        spaces = asked.get("spaces", STEPS[0]["method"]["spaces"])
        if wanted(f"search {own}"):
            yield f"search {own}", stages("search", epochs, student, asked), spaces
        found = read(FILE).get(f"{task} search {own} seed {options.seed}")
        if found and wanted(f"random {own}"):
            yield f"random {own}", stages("random", epochs, student, asked, found["stay"]), spaces


def sizes(config: TrimformerConfig, spaces: list[str]) -> dict[str, list[int]]:
    """How many dimensions each layer has in these spaces."""
    return {space: sizes_of(space, config) for space in spaces}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, type=Path, help="folder with glue/ and corpus/")
    parser.add_argument("--part", choices=PARTS, default="inputs")
    parser.add_argument("--work", type=Path, default=Path("runs/nas-report"))
    parser.add_argument("--student", help="folder of a general student; default: it is made as in students.py")
    parser.add_argument("--tasks", nargs="+", choices=EPOCHS, default=list(EPOCHS))
    parser.add_argument("--runs", nargs="+", help="such as tinybert or 'search 0.5'; default: all of the part")
    parser.add_argument("--epochs", type=float, help="of each step; default: 1 for sst2, 2 for cola, 4 for rte")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    student = options.student or str(general(options, options.work, FILE) / "model")
    whole = load(student).config
    for task in options.tasks:
        limit, _ = ROWS_AND_EPOCHS[task]
        rows = {"name": task, "data": str(options.data / "glue")} | ({"train_limit": limit} if limit else {})
        base = {"model": "demo", "task": rows, "baseline": teacher(options, task, options.seed, FILE)}
        for name, made, spaces in runs(options, task, student):
            out = options.work / f"{task}-{options.seed}" / name.replace(" ", "-")
            report = done(base | {"stages": made}, out, options.seed)
            left = {"stay": sizes(load(out / "model").config, spaces), "whole": sizes(whole, spaces)}
            command = {"command": shlex.join(["benchmarks/nas_report.py", *sys.argv[1:]])}
            places = {str(options.data): "DATA", str(options.work): "WORK", student: "STUDENT"}
            found = found_by(report, out) | left | command
            add(FILE, f"{task} {name} seed {options.seed}", anywhere(found, places))
            print(task, name, left["stay"], found["dense_scores"], found["scores"], flush=True)


if __name__ == "__main__":
    main()
