"""Write the measured tables into README.md and the docs: ``python benchmarks/tables.py``.

Every figure comes from a JSON file in benchmarks/results; a table stands between ``<!-- results:NAME -->`` and
``<!-- end -->``.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import autopilot_tables
import component_tables
import figures as in_sentences
import gain_tables
import glue_tables
import long_tables
import method_tables
import nas_report_tables
import peer_tables
import pruning_tables
import result_files
import runtime_tables
import small_tables
import sparsebert_curves
import sparsebert_tables
import speed_tables
import student_tables

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PAGES = {
    "README.md": ("autopilot-short",),
    "docs/results.md": (
        *("tasks", "predict", "speed", "glue", "glue-choices", "controls", "methods-speed", "methods", "autopilot"),
        *("sure", "training-speed", "words", "tinybert", "no-labels", "embedding", "architecture"),
        *("nas-report", "small-files"),
    ),
    "docs/autopilot.md": ("budgets",),
    "docs/tutorial.md": (),
    "docs/deploy.md": ("startup",),
    "docs/methods/movement.md": ("pruning",),
    "docs/methods/attendout.md": ("attendout", "faithful"),
    "docs/methods/position-importance.md": ("importance", "removed", "claims"),
    "docs/methods/dam.md": ("dam", "dam-curves"),
    "docs/methods/sparse.md": ("patterns",),
    "docs/serve.md": ("serve",),
    "docs/profile.md": ("components-small", "components-base"),
    "docs/benchmarks.md": (
        *("targets", "shapes", "peaks", "sweep", "gains", "kinds", "fresh", "latency-table", "peers", "peer-scores"),
        *("long-speed", "long-memory"),
    ),
}
PICTURE = ROOT / "docs" / "images" / "dam.svg"
SPEED = {
    "speed": speed_tables.short,
    "targets": speed_tables.targets,
    "shapes": speed_tables.shapes,
    "peaks": speed_tables.peaks,
    "sweep": speed_tables.sweep,
    "fresh": speed_tables.fresh,
}
TASKS = {
    "cola": "CoLA",
    "sst2": "SST-2",
    "mrpc": "MRPC",
    "stsb": "STS-B",
    "rte": "RTE",
    "qqp": "QQP",
    "mnli": "MNLI",
    "imdb": "IMDB",
    "conll2003": "CoNLL-2003",
    "ud": "UD-EWT",
    "treebank": "treebank",
    "squad": "SQuAD",
}


def read(name: str) -> Any:
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def glue() -> str:
    """Scores of the runs against the dense models of the same task and seed."""
    return markdown(*glue_tables.runs(glue_files(), speed_factor))


def glue_files() -> dict[str, Any]:
    return {file.stem.removeprefix("glue_"): read(file.stem) for file in sorted(RESULTS.glob("glue_*.json"))}


def glue_choices() -> str:
    """Learned layers against others."""
    return markdown(*glue_tables.choices(glue_files()))


def controls() -> str:
    """The search of layers against its controls."""
    header, rows = glue_tables.choices(control_files(), glue_tables.CONTROLS)
    return markdown(header, rows) if rows else "Not measured yet."


def control_files() -> dict[str, Any]:
    """By task the runs of ``--part controls``, and the dense model that was trained on beside them."""
    found = {file.stem.removeprefix("controls_"): read(file.stem) for file in sorted(RESULTS.glob("controls_*.json"))}
    for task, runs in found.items():
        runs |= {
            key: run
            for key, run in read(f"glue_{task}").items()
            if key.startswith("trained-on ") and f"layerwise-3 {key.partition(' ')[2]}" in runs
        }
    return found


def methods_speed() -> str:
    """Score against speed of the methods."""
    _, searches = autopilot_tables.searches(read("autopilot"))
    return markdown(*glue_tables.speeds(glue_files(), read("methods_speed"), searches))


def methods() -> str:
    """Each way to a smaller encoder, with the same training."""
    return markdown(*method_tables.runs(method_files()))


def method_files() -> dict[str, Any]:
    return {task: result_files.read(RESULTS / f"methods_{task}.json") for task in ("sst2", "mrpc")}


def small_files() -> str:
    """What weights in fewer bits cost and save."""
    return markdown(*small_tables.runs(result_files.read(RESULTS / "small_files.json")))


def autopilot() -> str:
    """The searches within half a point."""
    return markdown(*autopilot_tables.searches(read("autopilot")))


def autopilot_short() -> str:
    """The searches within half a point, by task."""
    return markdown(*autopilot_tables.short(read("autopilot")))


def sure() -> str:
    """The searches within half a point before confirmation, and with ``--sure``."""
    header, rows = autopilot_tables.sure(read("autopilot"), result_files.read(RESULTS / "autopilot_sure.json"))
    return markdown(header, rows) if rows else "Not measured yet."


def budgets() -> str:
    """Whether searches end in time."""
    return markdown(*autopilot_tables.budgets(read("autopilot_budgets")))


def tasks() -> str:
    """Dense and layerwise AttendOut on every task."""
    rows = []
    for task, title in TASKS.items():
        file = RESULTS / f"tasks_{task}.json"
        for key, found in result_files.read(file).items():
            test = found["comparison"]
            interval = f"{100 * test['difference']:+.1f} ({100 * test['low']:+.1f} to {100 * test['high']:+.1f})"
            metric = found["metric"]
            rows.append(
                [
                    title,
                    metric,
                    f"{100 * found['dense_scores'][metric]:.1f}",
                    f"{100 * found['scores'][metric]:.1f}",
                    interval,
                    ", ".join(map(str, found["removed_layers"])) or "none",
                    f"{found['flops_per_example'][1] / found['flops_per_example'][0]:.2f}",
                    f"{speed_factor(found, 'onnx')}, {speed_factor(found)}",
                    f"{found['examples']['n_train'] + found['examples']['n_selection']:,}",
                    key.removeprefix("seed "),
                ]
            )
    header = ["task", "metric", "dense, fp32", "trimmed, fp32", "difference (95 %)", "removed", "FLOPs"]
    return markdown([*header, "speed fp32, int8", "train", "seed"], rows)


def predict() -> str:
    """Lines per second over the same lines."""
    content = read("predict")
    rows = [[str(cell) for cell in row] for row in content["table"]]
    return markdown(content["header"], rows)


def speed_factor(found: Any, backend: str = "onnx-int8") -> str:
    """Dense time over trimmed time under ONNX Runtime, batch 8, at the data's mean length; empty where not timed."""
    if not found["latency_ms"]:
        return ""
    times = {
        variant: min((t["length"], t["median"]) for t in entries if t["backend"] == backend)[1]
        for variant, entries in found["latency_ms"].items()
    }
    return f"{times['dense'] / times['trimmed']:.2f}"


def speed_table(table: Callable[[Any], speed_tables.Table]) -> str:
    """BERT-base shape with random weights."""
    return markdown(*table(read("speed_bert_base")))


def peers() -> str:
    """What a user would pick instead: time of each variant."""
    return markdown(*peer_tables.speed(read("peers")))


def peer_scores() -> str:
    """What a user would pick instead: score of each model."""
    return markdown(*peer_tables.scores(read("peers")))


def gains() -> str:
    """What each step of the export is worth."""
    return markdown(*gain_tables.gains(read("gains")))


def kinds() -> str:
    """Time of each attention kind."""
    return markdown(*gain_tables.kinds(read("gains")))


def long_speed() -> str:
    """A window against full attention at each length."""
    return markdown(*long_tables.speed(read("long_texts")))


def long_memory() -> str:
    """The memory of ModernBERT's shape at each length."""
    return markdown(*long_tables.memory(read("long_texts")))


def serve() -> str:
    """The service under load beside the offline predictor."""
    return markdown(*runtime_tables.serve(read("serve")))


def latency_table() -> str:
    """What the table of the device predicts, and what was measured."""
    return markdown(*runtime_tables.latency_table(read("latency_table")))


def startup() -> str:
    """What the first answer takes in each installation."""
    found = result_files.read(RESULTS / "startup.json")
    return markdown(*runtime_tables.startup(found)) if found else "Not measured yet."


def attendout() -> str:
    """What a training step costs."""
    content = read("training_cost")
    rows = []
    for setting, found in content.items():
        if isinstance(found, dict) and "times_plain" in found:
            for name, factor in found["times_plain"].items():
                parts = ", ".join(f"{part} {1000 * value:.0f}" for part, value in found["parts"][name].items())
                rows.append([setting, name, f"{1000 * found['seconds_per_step'][name]:.0f}", f"{factor:.2f}x", parts])
    return markdown(["data", "method", "ms per step", "times plain", "parts, ms per step"], rows)


def training_speed() -> str:
    """Examples a second under training."""
    found = read("training_speed")["examples_per_s"]
    rows = [[name, f"{speed['best']:.0f}", f"{speed['median']:.0f}"] for name, speed in found.items()]
    return markdown(["training", "examples/s, best round", "median"], rows)


def figures() -> dict[str, str]:
    """Those in sentences, by name."""
    return (
        in_sentences.autopilot(read("autopilot"))
        | in_sentences.choices(glue_files())
        | in_sentences.tasks({task: result_files.read(RESULTS / f"tasks_{task}.json") for task in TASKS})
        | in_sentences.glue(glue_files())
        | in_sentences.faithful(read("faithful"))
        | in_sentences.against_speed(glue_files(), read("methods_speed"))
        | in_sentences.predict(read("predict"))
        | in_sentences.speed(read("speed_bert_base"))
        | in_sentences.peers(read("peers"))
        | in_sentences.methods(method_files())
        | in_sentences.demo(read("demo"))
    )


def sparsebert(table: Callable[[Any], sparsebert_tables.Table]) -> str:
    """Which positions count, and what is lost without some."""
    header, rows = table(result_files.read(RESULTS / "sparsebert.json"))
    return markdown(header, rows) if rows else "Not measured yet."


def dam_curves() -> str:
    """A link to the picture of λ."""
    return f"![{sparsebert_curves.SAID}](../images/{PICTURE.name})" if picture() else "Not measured yet."


def picture() -> str:
    """That of λ; empty where it is not measured."""
    return sparsebert_curves.picture(result_files.read(RESULTS / "sparsebert.json"))


def components(run: str) -> str:
    """What each component of a model costs."""
    return markdown(*component_tables.components(read("components")[run]))


def students(experiment: str) -> str:
    """What each step of a student's training brings."""
    header, rows = student_tables.runs(result_files.read(RESULTS / f"students_{experiment}.json"))
    return markdown(header, rows) if rows else "Not measured yet."


def nas_report() -> str:
    """A published search of dimensions beside its controls."""
    header, rows = nas_report_tables.runs(result_files.read(RESULTS / "nas_report.json"))
    return markdown(header, rows) if rows else "Not measured yet."


MAKERS: dict[str, Callable[[], str]] = {
    "tasks": tasks,
    "glue": glue,
    "glue-choices": glue_choices,
    "controls": controls,
    "methods-speed": methods_speed,
    "methods": methods,
    "small-files": small_files,
    "budgets": budgets,
    "autopilot": autopilot,
    "autopilot-short": autopilot_short,
    "sure": sure,
    "predict": predict,
    "nas-report": nas_report,
    "dam-curves": dam_curves,
    "pruning": lambda: markdown(*pruning_tables.runs(read("pruning"))),
    "faithful": lambda: markdown(*glue_tables.path(read("faithful"))),
    "attendout": attendout,
    "training-speed": training_speed,
    "peers": peers,
    "peer-scores": peer_scores,
    "gains": gains,
    "kinds": kinds,
    "long-speed": long_speed,
    "long-memory": long_memory,
    "serve": serve,
    "latency-table": latency_table,
    "startup": startup,
} | {name: functools.partial(speed_table, table) for name, table in SPEED.items()}
MAKERS |= {name: functools.partial(students, name) for name in student_tables.EXPERIMENTS}
MAKERS |= {
    f"components-{name}": functools.partial(components, run)
    for name, run in {"small": "demo 128", "base": "bert-base 128"}.items()
}
MAKERS |= {
    name: functools.partial(sparsebert, getattr(sparsebert_tables, name))
    for name in ("importance", "removed", "dam", "patterns", "claims")
}


def filled(text: str, names: Iterable[str]) -> str:
    """A page with its tables and figures as the files have them."""
    for name in names:
        try:
            table = MAKERS[name]()
        except FileNotFoundError as error:
            print(f"{name} is not measured yet: there is no {error.filename}")
            continue
        block = f"<!-- results:{name} -->\n{table}\n<!-- end -->"
        text = re.sub(rf"<!-- results:{name} -->(.*?<!-- end -->)?", lambda _, b=block: b, text, flags=re.DOTALL)
    found = figures()
    return re.sub(
        r"<!-- figure:([\w-]+) -->.*?<!-- end -->",
        lambda place: f"<!-- figure:{place[1]} -->{found[place[1]]}<!-- end -->",
        text,
    )


def main() -> None:
    for page, names in PAGES.items():
        text = (ROOT / page).read_text(encoding="utf-8")
        (ROOT / page).write_text(filled(text, names), encoding="utf-8")
    if drawn := picture():
        PICTURE.write_text(drawn, encoding="utf-8")


if __name__ == "__main__":
    main()
