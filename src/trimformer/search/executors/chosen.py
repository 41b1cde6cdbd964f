"""The executor that the settings of a search ask for: this process alone, or with all that help it."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NotRequired

from typing_extensions import TypedDict

from ...cluster import connect
from ...pipeline.run_folder import RunFolder
from ...recipe.settings import AutopilotSettings
from .job import Executor
from .local import one_by_one
from .nodes import workers_on_nodes
from .storage import check_storage, open_jobs
from .workers import with_workers

SHARED = "jobs.json"
"""What a search tells its workers."""


class Shared(TypedDict):
    """search: the name that its jobs are stored under. open: whether there may be more of them."""

    search: str
    open: NotRequired[bool]


def check_helpers(settings: AutopilotSettings) -> None:
    """Refuse before any work what nobody could be asked through."""
    if settings.storage is not None:
        check_storage(settings.storage)
    if settings.ray is not None:
        connect(settings.ray).shutdown()


@contextlib.contextmanager
def chosen_executor(settings: AutopilotSettings, folder: RunFolder, work: Callable[..., Any]) -> Iterator[Executor]:
    """What does the trainings of a rung. work: what a worker on another node does with the folder."""
    if settings.storage is None:
        yield one_by_one
        return
    shared = folder.read_json(SHARED, Shared, {"search": f"{folder.out.name}-{uuid.uuid4().hex[:8]}"})
    jobs = open_jobs(settings.storage, folder.work, shared["search"])
    folder.write_json(SHARED, shared | {"open": True})  # from here on workers find it
    alone = contextlib.nullcontext(lambda: None)
    helpers = alone if settings.ray is None else workers_on_nodes(settings.ray, folder.out, work)
    with helpers as watch:
        yield partial(with_workers, jobs, watch=watch)
        folder.write_json(SHARED, shared | {"open": False})
