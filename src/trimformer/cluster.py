"""A connection to a Ray cluster."""

from __future__ import annotations

import importlib.util
import logging
import os
from typing import Any

from .errors import TrimformerError


def require_ray() -> None:
    """Before it is imported. Raises TrimformerError where it is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise TrimformerError('A Ray cluster needs the package ray: pip install "trimformer[cluster]".')
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")


def connect(address: str) -> Any:
    """Join a cluster until ``ray.shutdown``; returns the module ray.

    address: of its head (host:port), ``auto`` for the one that this machine belongs to, ``local`` for a new one on this
    machine. Raises TrimformerError where ray is missing or there is no cluster.
    """
    require_ray()
    import ray

    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError) as error:
        raise TrimformerError(
            f"There is no Ray cluster at {address!r}: start one with `ray start --head`, or use --ray local."
        ) from error
    return ray
