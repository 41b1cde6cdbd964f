"""Names of models for narrow places: what differs between their paths."""

from __future__ import annotations

import string
from collections.abc import Iterable

WIDTH = 12
"""Characters of a name that leave room for the figures in a terminal of 80."""


def short_names(names: Iterable[str]) -> dict[str, str]:
    """For each name the parts of the path that the others do not share, or letters where these are long too."""
    whole = list(dict.fromkeys(names))
    if all(len(name) <= WIDTH for name in whole):
        return {name: name for name in whole}
    paths = [[part for part in name.split("/") if part] or [name] for name in whole]
    while len({path[0] for path in paths}) == 1 and min(map(len, paths)) > 1:
        paths = [path[1:] for path in paths]
    while len({path[-1] for path in paths}) == 1 and min(map(len, paths)) > 1:
        paths = [path[:-1] for path in paths]
    short = ["/".join(path) for path in paths]
    if len(set(short)) < len(whole) or max(map(len, short)) > WIDTH:
        letters = string.ascii_uppercase
        short = [letters[i] if i < len(letters) else str(i + 1) for i in range(len(whole))]
    return dict(zip(whole, short, strict=True))
