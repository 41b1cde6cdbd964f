"""Figures in sentences of the docs, from the files of the tables: ``<!-- figure:NAME -->…<!-- end -->``."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Any

import autopilot_tables
import glue_tables
import speed_tables
from scipy import stats

from trimformer.report.headline import sentence
from trimformer.report.schema import Headline


def autopilot(content: dict[str, Any]) -> dict[str, str]:
    """What the searches within half a point lose on rows that chose nothing, and how fast their files are."""
    found = list(autopilot_tables.searched(content))
    drops: dict[str, list[float]] = {}
    speeds: dict[str, list[list[float]]] = {}
    for task, _, _, drop, factors in found:
        drops.setdefault(task, []).append(drop)
        if factors:
            speeds.setdefault(task, []).append(factors)
    every = [drop for given in drops.values() for drop in given]
    means = {task: statistics.mean(given) for task, given in drops.items()}
    over_eager, _, over_stock = autopilot_tables.overall(speeds)
    chosen = [search["chosen"]["drop"] for _, _, search, _, _ in found]
    inside = sum(drop <= autopilot_tables.BUDGET for drop in every)
    return {
        "autopilot-searches": str(len(every)),
        "autopilot-inside": f"{inside} of the {len(every)}",
        "autopilot-drop": f"{statistics.mean(means.values()):.2f}",
        "autopilot-error": f"{statistics.stdev(every) / len(every) ** 0.5:.1f}",
        "autopilot-drop-without-rte": f"{statistics.mean(v for task, v in means.items() if task != 'rte'):+.2f}",
        "autopilot-drop-chosen": _signed(statistics.mean(chosen)),
        "autopilot-over-eager": f"{over_eager:.1f}",
        "autopilot-over-stock": f"{over_stock:.1f}",
        "autopilot-least": _signed(min(every)),
        "autopilot-most": _signed(max(every)),
        **{f"autopilot-{task}-least": _signed(min(given)) for task, given in drops.items()},
        **{f"autopilot-{task}-most": _signed(max(given)) for task, given in drops.items()},
    }


def demo(content: dict[str, Any]) -> dict[str, str]:
    """The last line of `trimformer demo`, of the report of one run, and the machine."""
    machine = content["hardware"]
    return {
        "demo-headline": sentence(Headline.model_validate(content["headline"])),
        "demo-machine": f"{machine['cores']} cores of an {machine['cpu']}",
    }


def choices(contents: dict[str, Any]) -> dict[str, str]:
    """Learned layers against the last ones, with three of six removed: over pairs of task and seed, and over tasks."""
    found = glue_tables.changes(contents)
    figures = {}
    ways = {"last": "last", "random": "random", "control": "dense, trained on"}
    for way, name in ways.items():
        pairs = sorted(pair for pair in found["layerwise"].keys() & found[name].keys() if pair[0] == "3")
        differences = {pair: found["layerwise"][pair] - found[name][pair] for pair in pairs}
        by_task: dict[str, list[float]] = {}
        for (_, task, _), value in differences.items():
            by_task.setdefault(task, []).append(value)
        means = [statistics.mean(values) for values in by_task.values()]
        figures |= {
            f"choices-{way}": f"{abs(statistics.mean(differences.values())):.1f}",
            f"choices-{way}-p": f"{stats.ttest_1samp(list(differences.values()), 0).pvalue:.2f}",
            f"choices-{way}-p-tasks": f"{stats.ttest_1samp(means, 0).pvalue:.2f}",
            f"choices-{way}-best-task": f"{max(means):+.1f}",
            f"choices-{way}-worst-task": f"{min(means):+.2f}",
        }
    three = {pair: change for pair, change in found["layerwise"].items() if pair[0] == "3"}
    drawn = {pair: change - found["random"][pair] for pair, change in three.items()}
    harmful = min(found["random"], key=found["random"].__getitem__)[2]  # a seed draws the same layers for all tasks
    greedy = [change - found["greedy"][pair] for pair, change in three.items() if pair in found["greedy"]]
    longer = {pair: change for pair, change in found["dense, trained on"].items() if pair in three}
    return figures | {
        "choices-control-pairs": f"{len(longer)} of the {len(three)}",
        "choices-control-change": _signed(statistics.mean(longer.values())),
        "choices-control-layerwise": _signed(statistics.mean(three[pair] for pair in longer)),
        "choices-random-without-draw": f"{statistics.mean(d for pair, d in drawn.items() if pair[2] != harmful):.1f}",
        "choices-layerwise": f"{statistics.mean(three.values()):+.2f}",
        "choices-layerwise-without-rte": _signed(
            statistics.mean(d for pair, d in three.items() if pair[1] != "rte"), 2
        ),
        "choices-greedy": f"{statistics.mean(greedy):+.1f}",
        "choices-greedy-p": f"{stats.ttest_1samp(greedy, 0).pvalue:.1f}",
    }


def glue(contents: dict[str, Any]) -> dict[str, str]:
    """Points that ways to choose lose by task, of one seed or on the mean."""
    found = glue_tables.changes(contents)
    figures = {}
    for way in ("layerwise", "last"):
        for task in contents:
            changes = [change for (count, name, _), change in found[way].items() if (count, name) == ("3", task)]
            figures[f"glue-{way}-{task}"] = f"{abs(statistics.mean(changes)):.1f}"
    faithful = [-change for change in found["faithful"].values()]
    return figures | {
        "glue-random-worst": f"{-min(found['random'].values()):.0f}",
        "glue-faithful": f"{min(faithful):.1f} to {max(faithful):.1f}",
    }


def faithful(contents: dict[str, Any]) -> dict[str, str]:
    """Of the one long run: how far the generator came, and what it keeps of the layers."""
    (run,) = contents.values()
    first, last = run["path"][0], run["path"][-1]

    def kept(point: Any) -> str:
        shares = point["keep_probability"]
        return f"{min(shares):.3f} to {max(shares):.3f}"

    return {
        "faithful-updates": str(run["updates"]),
        "faithful-change": f"{100 * last['generator_change']:.1f} %",
        "faithful-walk": f"{100 * first['generator_change'] * run['updates'] ** 0.5:.1f} %",
        "faithful-kept-first": kept(first),
        "faithful-kept-last": kept(last),
        "faithful-removed": ", ".join(map(str, run["removed_layers"])),
        "faithful-score": _signed(100 * run["comparison"]["difference"]),
    }


def tasks(contents: dict[str, Any]) -> dict[str, str]:
    """One run of each task: what it loses, and of how many the interval includes 0."""
    tests = {task: run["comparison"] for task, found in contents.items() for run in found.values()}
    none = sum(test["low"] <= 0 <= test["high"] for test in tests.values())
    scores = {f"tasks-{task}-dense": run["dense_scores"] for task, found in contents.items() for run in found.values()}
    scores |= {f"tasks-{task}-trimmed": run["scores"] for task, found in contents.items() for run in found.values()}
    return (
        {"tasks-none-lost": f"{none} of the {len(tests)}"}
        | {f"tasks-{task}": f"{abs(100 * test['difference']):.1f}" for task, test in tests.items()}
        | {name: f"{100 * next(iter(found.values())):.1f} %" for name, found in scores.items()}
    )


def against_speed(contents: dict[str, Any], timed: dict[str, Any]) -> dict[str, str]:
    """By run: its change without RTE, and how fast its int8 file is beside the dense one."""
    names = glue_tables.timed_runs(contents, timed)
    figures = {}
    for name, by_task in names.items():
        without = [values[0] for task, values in by_task.items() if task != "rte"]
        figures[f"against-speed-{name}"] = _signed(statistics.mean(without))
        figures[f"against-speed-{name}-factor"] = f"{statistics.geometric_mean(v[3] for v in by_task.values()):.2f}"
        for task, (change, share, *_) in by_task.items():
            figures[f"against-speed-{name}-{task}"] = _signed(change)
            figures[f"against-speed-{name}-{task}-share"] = f"{share:.2f}"
    others = ("layerwise-3", "last-3", "greedy-3", "random-3")
    factors = [float(figures[f"against-speed-{name}-factor"]) for name in others]
    gains = [
        values[0] for name, by_task in names.items() for task, values in by_task.items() if task == "rte" and values[0]
    ]
    longer = [
        100 * (run["scores"][run["metric"]] - run["dense_scores"][run["metric"]])
        for task, runs in contents.items()
        for name, run in runs.items()
        if name == "trained-on seed 1" and task != "rte"
    ]
    return figures | {
        "against-speed-factors": f"{min(factors):.2f} to {max(factors):.2f}",
        "against-speed-rte": f"{min(gains):.0f} to {max(gains):.0f}",
        "against-speed-trained-on": _signed(statistics.mean(longer)),
    }


def predict(content: dict[str, Any]) -> dict[str, str]:
    """Of how many lines the trimmed int8 model's label is not the pipeline's."""
    return {"predict-differs": f"{100 * (1 - content['commands']['predict, trimmed, int8']['agreement']):.1f} %"}


def speed(content: dict[str, Any]) -> dict[str, str]:
    """What means, or nothing, are worth in place of attention within a back-end.

    Means over the sizes of the short table, of all back-ends over all sizes, and at 4×256 by precision; at 4×256 also
    nothing, and how many times fewer the operations are.
    """
    every, none = _within(content["shapes"], "mean 2-11"), _within(content["shapes"], "none 2-11")
    short = [
        factor
        for (backend, *size), factor in every.items()
        if backend in speed_tables.SHORT and size in ([4, 256], [8, 128])
    ]
    middle = {backend: factor for (backend, *size), factor in every.items() if size == [4, 256]}
    done = {
        one["name"]: one["flops_per_s"] * one["median_ms"]
        for one in content["shapes"]["timings"]
        if (one["backend"], one["batch"], one["length"]) == ("torch", 4, 256)
    }
    return {
        "speed-means": _between(short, 2),
        "speed-means-every": _between(every.values()),
        "speed-means-int8": _between((factor for backend, factor in middle.items() if "int8" in backend), 2),
        "speed-means-others": _between((factor for backend, factor in middle.items() if "int8" not in backend), 2),
        "speed-operations": f"{done['mean 2-11'] / done['dense']:.2f}",
        "speed-operations-factor": f"{done['dense'] / done['mean 2-11']:.2f}x",
        "speed-none": _between(factor for (_, *size), factor in none.items() if size == [4, 256]),
        "speed-means-long": f"{_within(content['sweep'], 'mean 2-11')['onnx-int8', 4, 512]:.2f}x",
    }


def peers(content: dict[str, Any]) -> dict[str, str]:
    """How many times as fast means under OpenVINO's int8 are as the stock model's int8 files, at 4×256."""
    times = {
        (one["name"], one["backend"]): one["median_ms"]
        for one in content["speed"]["timings"]
        if (one["batch"], one["length"]) == (4, 256)
    }
    ours = times["mean 2-11", "openvino-int8"]
    return {f"peers-{how}": f"{times['dense', f'stock {how}-int8'] / ours:.2f}x" for how in ("openvino", "onnx")}


def _within(content: dict[str, Any], name: str) -> dict[tuple[str, int, int], float]:
    """By back-end, batch and length: how many times as fast a model is as the dense one."""
    times = {(t["name"], t["backend"], t["batch"], t["length"]): t["median_ms"] for t in content["timings"]}
    return {
        (backend, batch, length): times["dense", backend, batch, length] / ms
        for (who, backend, batch, length), ms in times.items()
        if who == name and ms
    }


def _between(factors: Iterable[float], decimals: int = 1) -> str:
    given = list(factors)
    return f"{min(given):.{decimals}f}x to {max(given):.{decimals}f}x"


def _signed(value: float, decimals: int = 1) -> str:
    return f"{round(value, decimals) + 0.0:+.{decimals}f}".replace("-", "−")  # no minus before a zero


def methods(contents: dict[str, Any]) -> dict[str, str]:
    """By task and run of benchmarks/methods.py: the change in points, and by how much the weights' file is smaller."""
    figures = {}
    for task, found in contents.items():
        whole = next((run for key, run in found.items() if key.startswith("trained-on ")), None)
        for key, run in found.items():
            name, _, _ = key.partition(" seed ")
            if name == "times":
                continue
            figures[f"methods-{task}-{name}"] = _signed(100 * run["comparison"]["difference"])
            for kind in ("megabytes", "compressed_megabytes") if whole else ():
                figures[f"methods-{task}-{name}-{kind}"] = f"{100 * (1 - run[kind] / whole[kind]):.0f} %"
    return figures
