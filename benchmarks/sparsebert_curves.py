"""The picture of benchmarks/sparsebert.py: how much is left out, by λ, against loss and scores."""

from __future__ import annotations

import statistics
from typing import Any

from pictures import Panel, Series, svg
from sparsebert_tables import TASKS, Runs, by_name

STRUCTURES = ("structured", "unstructured")
SAID = "Learned masks by λ: the share of positions left out, against the held-out loss and the score on each task."


def picture(found: dict[str, Any]) -> str:
    """As SVG; empty where no mask is measured."""
    panels = curves(found)
    return svg(panels, SAID) if panels else ""


def curves(found: dict[str, Any]) -> list[Panel]:
    """For each origin the held-out loss, and the score of each task, against the share of positions left out.

    Learned masks are joined by rising λ, which is written beside them; the dense encoder is in both lines.
    """
    panels = []
    learned, fixed = by_name(found, "dam"), by_name(found, "patterns")
    for origin in dict.fromkeys(name.partition(" ")[0] for name in learned):
        for task in (None, *(task for task in TASKS if any(name.endswith(f" {task}") for name in learned))):
            series = [*_learned(learned, origin, task), *_written(learned, fixed, origin, task)]
            what = "held-out loss" if task is None else f"score on {TASKS[task]}"
            panels.append(Panel(f"{origin}: {what}", "positions left out, %", what, series))
    return [panel for panel in panels if any(series.points for series in panel.series)]


def _learned(made: Runs, origin: str, task: str | None) -> list[Series]:
    """The lines of λ."""
    found = []
    for structure in STRUCTURES:
        begin = f"{origin} {structure} "
        given = [name.removeprefix(begin) for name in made if name.startswith(begin)]
        penalties = sorted({name.split()[0] for name in given}, key=float)
        names = {f"{origin} dense": "dense"} | {f"{begin}{own}": own for own in penalties}
        points = [_point(made, name, task, label) for name, label in names.items()]
        found.append(Series(f"{structure}, by λ", [point for point in points if point], joined=True))
    return [series for series in found if len(series.points) > 1]


def _written(learned: Runs, fixed: Runs, origin: str, task: str | None) -> list[Series]:
    """The points of controls, which have a λ's count of distances, and of patterns."""
    found = []
    for control in ("random", "nearest"):
        names = [name for name in learned if name.startswith(f"{origin} {control} ") and len(name.split()) == 3]
        points = [_point(learned, name, task, name.split()[2]) for name in names]
        found.append(Series(f"{control} distances", [point for point in points if point]))
    names = [name for name in fixed if name.startswith(f"{origin} ") and len(name.split()) == 2]
    points = [_point(fixed, name, task, name.split()[1]) for name in names]
    return [series for series in [*found, Series("patterns", [point for point in points if point])] if series.points]


def _point(made: Runs, name: str, task: str | None, label: str) -> tuple[float, float, str] | None:
    """The share left out in percent, and the mean of the loss or of the score; None where it is not measured."""
    runs, scored = made.get(name, []), made.get(name if task is None else f"{name} {task}", [])
    if not runs or not scored:
        return None
    values = [one["scores"]["loss"] if task is None else 100 * one["scores"][one["metric"]] for one in scored]
    return 100 * statistics.mean(one["sparsity"] for one in runs), statistics.mean(values), label
