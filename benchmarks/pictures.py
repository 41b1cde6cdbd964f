"""Pictures of results for the docs, as SVG: points in panels, some of them joined by lines."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from html import escape

WIDTH, HEIGHT = 420, 300
"""Of a panel, in pixels."""
LEFT, RIGHT, TOP, BOTTOM = 62, 20, 40, 48
"""Around its points."""
NAMED, LINE = 160, 24
"""What the name of a series takes below the panels."""
TICKS = 5
COLOURS = ("#0b63a5", "#d98200", "#2f855a", "#8a4fb0", "#5b6675")
STYLE = "text { font: 12px system-ui, sans-serif; fill: #1c2430; } .title { font-weight: 600; font-size: 14px; }"


@dataclasses.dataclass(frozen=True)
class Series:
    """Points (x, y, label) of one name; joined: by a line, in their order."""

    name: str
    points: Sequence[tuple[float, float, str]]
    joined: bool = False


@dataclasses.dataclass(frozen=True)
class Panel:
    """Series over the same two quantities, with their units."""

    title: str
    x: str
    y: str
    series: Sequence[Series]


def svg(panels: Sequence[Panel], alternative: str) -> str:
    """Two panels side by side in each row, and the names of the series below. alternative: for who cannot see it."""
    names = list(dict.fromkeys(series.name for panel in panels for series in panel.series))
    colours = {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(names)}
    columns = min(2, len(panels))
    width, beside = columns * WIDTH, columns * WIDTH // NAMED
    above = math.ceil(len(panels) / columns) * HEIGHT
    height = above + math.ceil(len(names) / beside) * LINE
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{escape(alternative)}">',
        f"<style>{STYLE}</style>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for index, panel in enumerate(panels):
        row, column = divmod(index, columns)
        parts += [f'<g transform="translate({column * WIDTH} {row * HEIGHT})">', *_panel(panel, colours), "</g>"]
    for index, name in enumerate(names):
        x, y = 12 + index % beside * NAMED, above + index // beside * LINE + 8
        parts.append(f'<circle cx="{x}" cy="{y}" r="5" fill="{colours[name]}"/>')
        parts.append(f'<text x="{x + 10}" y="{y + 4}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(panel: Panel, colours: dict[str, str]) -> list[str]:
    xs, ys = ([point[axis] for series in panel.series for point in series.points] for axis in (0, 1))
    across, up = ticks(min(xs), max(xs)), ticks(min(ys), max(ys))
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            LEFT + (x - across[0]) / (across[-1] - across[0]) * (right - LEFT),
            bottom - (y - up[0]) / (up[-1] - up[0]) * (bottom - TOP),
        )

    parts = [f'<text class="title" x="{LEFT}" y="20">{escape(panel.title)}</text>']
    for value in up:
        y = place(across[0], value)[1]
        parts.append(f'<line x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e4e8ee"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    for value in across:
        x = place(value, up[0])[0]
        parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{value:g}</text>')
    parts.append(f'<text x="{(LEFT + right) / 2}" y="{bottom + 38}" text-anchor="middle">{escape(panel.x)}</text>')
    middle = (TOP + bottom) / 2
    turned = f'transform="rotate(-90 14 {middle})"'
    parts.append(f'<text x="14" y="{middle}" text-anchor="middle" {turned}>{escape(panel.y)}</text>')
    for series in panel.series:
        colour, places = colours[series.name], [place(x, y) for x, y, _ in series.points]
        if series.joined:
            line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
            parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for (x, y), (_, _, label) in zip(places, series.points, strict=True):
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>')
            beyond = x > (LEFT + right) / 2  # there is more room on the other side
            side = f'x="{x - 7:.1f}" text-anchor="end"' if beyond else f'x="{x + 7:.1f}"'
            parts.append(f'<text {side} y="{y - 6:.1f}">{escape(label)}</text>')
    return parts


def ticks(low: float, high: float) -> list[float]:
    """Round numbers at equal distances from at most the lowest to at least the highest value."""
    span = (high - low) or abs(high) or 1.0
    rough = span / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(number * step, 10) for number in range(first, max(last, first + 1) + 1)]
