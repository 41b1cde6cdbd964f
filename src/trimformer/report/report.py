"""Write report.json and report.html, one self-contained page that works offline."""

from __future__ import annotations

import base64
import gzip
from functools import cache
from pathlib import Path

import yaml

from ..deploy.agreement import percent
from ..files import atomic_file
from ..tasks.kinds.regression import CLOSE
from . import charts, exit_charts, numbers, position_charts, summary
from .schema import Report
from .templating import environment
from .variants_table import table


def write_report(report: Report, folder: Path) -> None:
    """Write ``folder/report.json``, then ``folder/report.html``.

    Raises TrimformerError where the folder cannot be written, or the packages for the page are missing (then
    report.json is there).
    """
    with atomic_file(folder / "report.json") as file:
        file.write_text(report.model_dump_json(indent=2), encoding="utf-8")
    page = html(report)
    with atomic_file(folder / "report.html") as file:
        file.write_text(page, encoding="utf-8")


def html(report: Report) -> str:
    """The page. Raises TrimformerError where jinja2 or plotly is missing."""
    template = environment().get_template("report.html")
    curves, bars = charts.curves(report), charts.latency(report)
    positions = {stage: position_charts.of(found) for stage, found in report.positions.items()}
    exits = {stage: exit_charts.of(found, report.task.metric) for stage, found in report.exits.items()}
    return template.render(
        report=report,
        headline=summary.headline(report),
        details=summary.details(report),
        interval=summary.interval_words(report.comparison),
        rows=table(report),
        trimmed=report.variant("trimmed"),
        removed=set(report.removed_layers()),
        curves=curves,
        bars=bars,
        positions=positions,
        exits=exits,
        library=plotly_base64() if bars or curves or positions or exits else "",
        settings=yaml.safe_dump(report.recipe, sort_keys=False, allow_unicode=True) if report.recipe else "",
        numbers=numbers,
        percent=percent,
        close=CLOSE,
    )


@cache
def plotly_base64() -> str:
    """The plotly library, gzip and base64: 1.9 MB instead of 4.8 MB (the Python package ships no smaller one).

    It is packed once, for that takes a fifth of a second.
    """
    from plotly.offline import get_plotlyjs

    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode()
