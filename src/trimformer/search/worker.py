"""A process that helps a search: it does the trainings that wait until there will be no more."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

from ..console import console
from ..errors import TrimformerError
from ..pipeline.run_folder import partial_folder
from ..recipe.reading import load_recipe
from .executors.chosen import SHARED, Shared
from .executors.storage import open_jobs
from .executors.workers import POLL, train_next
from .measurement import Measurement
from .training import Ground, Trainer


def work(out: Path) -> int:
    """Train for the search whose results will be in ``out``, and return how many models were.

    Raises TrimformerError where no search is under way there that other processes may help, and for what this one
    cannot read or reads otherwise than the search did.
    """
    return Worker(out).help()


class Worker(Trainer):
    """One helper, in the folder of the search."""

    def __init__(self, out: Path) -> None:
        folder = partial_folder(out)
        saved = folder / "recipe.yaml"
        if not saved.is_file():
            raise TrimformerError(
                f"There is no search under way in {folder}: start one with `trimformer compress`, --max-drop and "
                "--storage sqlite, or name its --out."
            )
        recipe = load_recipe(saved).model_copy(update={"out": str(out)})
        if recipe.autopilot is None or recipe.autopilot.storage is None:
            raise TrimformerError(
                f"The run in {folder} trains in one process: only a search with --max-drop and --storage takes help."
            )
        self.storage = recipe.autopilot.storage
        super().__init__(recipe, resume=True)

    def help(self) -> int:
        trained = 0
        try:
            inputs = self.load()
            search = self._wait_for_search()
            if search is None:
                return trained
            measured = self.folder.read_json("files.json", list[Measurement], [])
            train = partial(self.train, ground=Ground(inputs, self.dense(), measured))
            jobs = open_jobs(self.storage, self.folder.work, search)
            while self.folder.read_json(SHARED, Shared, {}).get("open"):
                if train_next(jobs, train):
                    trained += 1
                else:
                    time.sleep(POLL)
        except TrimformerError:
            if self.folder.path.is_dir():  # else the search is complete, and its file has gone
                raise
        return trained

    def _wait_for_search(self) -> str | None:
        """The name of its jobs, as soon as it has candidates; None where it ends without."""
        console.print("Waiting for work")
        while self.folder.path.is_dir():
            shared = self.folder.read_json(SHARED, Shared, None)
            if shared is not None:
                return str(shared["search"])
            time.sleep(POLL)
        return None
