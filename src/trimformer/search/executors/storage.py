"""Where the jobs of a search are stored: an SQLite file or whatever database SQLAlchemy opens."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import TrimformerError

if TYPE_CHECKING:
    from .table import JobTable


def check_storage(setting: str) -> None:
    """Raise TrimformerError where :func:`open_jobs` would; ``sqlite`` leaves no file behind."""
    _require_sqlalchemy()
    from .table import open_engine

    open_engine("sqlite://" if setting == "sqlite" else setting).dispose()


def open_jobs(setting: str, work: Path, search: str) -> JobTable:
    """Open the jobs of the search of this name; for ``sqlite`` they are in a file in its folder ``work``.

    Raises TrimformerError where SQLAlchemy is missing and where the database cannot be opened.
    """
    _require_sqlalchemy()
    from .table import JobTable

    return JobTable(f"sqlite:///{work.resolve() / 'search.db'}" if setting == "sqlite" else setting, search)


def _require_sqlalchemy() -> None:
    if importlib.util.find_spec("sqlalchemy") is None:
        raise TrimformerError(
            'A search on many machines needs the package sqlalchemy: pip install "trimformer[search]".'
        )
