"""The database of an Optuna study: SQLite or whatever SQLAlchemy opens."""

from __future__ import annotations

import contextlib
import importlib.util
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import TrimformerError

HEARTBEAT = 10
"""Seconds between two signs of life of who trains."""
SILENCE = 60
"""Seconds without one after which a training is given to another worker."""
LOCKED = 60.0
"""Seconds that a process waits for the others to leave an SQLite file."""


def storage_url(setting: str, work: Path) -> str:
    """The URL that is meant: for ``sqlite`` that of a file in the folder of the search."""
    return f"sqlite:///{work.resolve() / 'search.db'}" if setting == "sqlite" else setting


def check_storage(setting: str) -> None:
    """Raise TrimformerError where :func:`open_storage` would, and leave no file behind."""
    open_storage("sqlite://" if setting == "sqlite" else setting)


def open_storage(url: str) -> Any:
    """An :class:`optuna.storages.RDBStorage` whose trials are taken by one process each.

    Raises TrimformerError where Optuna is missing and where the database cannot be opened.
    """
    if importlib.util.find_spec("optuna") is None:
        raise TrimformerError('A search on many machines needs the package optuna: pip install "trimformer[search]".')
    import optuna
    import sqlalchemy

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    shown = url
    try:
        made = sqlalchemy.make_url(url)
        shown = made.render_as_string(hide_password=True)
        local = made.get_backend_name() == "sqlite"
        options = {"connect_args": {"timeout": LOCKED}} if local else {"pool_pre_ping": True}
        storage = optuna.storages.RDBStorage(url, options, heartbeat_interval=HEARTBEAT, grace_period=SILENCE)
    except (sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0].rstrip(".")
        raise TrimformerError(
            f"The storage {shown} cannot be opened ({reason}): use `sqlite`, or the URL of a database whose driver is "
            "installed."
        ) from error
    if local:
        _lock_first(storage.engine)
    return storage


def _lock_first(engine: Any) -> None:
    """SQLite: lock before reading, or two processes could both read that a trial waits, and both take it.

    From SQLAlchemy's documentation, "Serializable isolation / Savepoints / Transactional DDL" of the SQLite dialect.
    """
    from sqlalchemy import event

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # or the driver begins a transaction of its own, too late

    @event.listens_for(engine, "begin")
    def begun(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    engine.dispose()  # the connections from before


@contextlib.contextmanager
def answering() -> Iterator[None]:
    """Turn the refusals of a database into one sentence."""
    import optuna
    import sqlalchemy

    try:
        yield
    except (optuna.exceptions.StorageInternalError, sqlalchemy.exc.SQLAlchemyError) as error:
        cause = error.__cause__ or error
        reason = str(getattr(cause, "orig", None) or cause).strip().splitlines()[0].rstrip(".")
        raise TrimformerError(f"The storage of the search does not answer ({reason}): mend it and resume.") from error
