"""The optional packages behind the readable report, imported only when one is written."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import TrimformerError

if TYPE_CHECKING:
    import jinja2

PACKAGES = ("jinja2", "plotly")
TEMPLATES = Path(__file__).parent / "templates"


def require_packages() -> None:
    """Raise TrimformerError where the packages for the report are missing; call it before long work."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise TrimformerError(f'The report needs {" and ".join(missing)}: pip install "trimformer[report]".')


def environment() -> jinja2.Environment:
    """Templates in which everything is escaped in HTML, and a missing value is an error."""
    require_packages()
    return _environment()


@cache
def _environment() -> jinja2.Environment:
    """Made once: it keeps the templates that it has compiled."""
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=lambda name: name is not None and name.endswith(".html"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
