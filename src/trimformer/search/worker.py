"""A process that helps a search: it does the trainings that wait until there will be no more."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

from ..console import console
from ..errors import TrimformerError
from ..pipeline.run_folder import partial_folder
from ..recipe.reading import load_recipe
from .files import Row
from .storage import storage_url
from .training import Ground, Trainer
from .trials import POLL, Trials


def work(out: Path) -> int:
    """Train for the search whose results will be in ``out``, and return how many models were.

    Raises TrimformerError where no search is under way there that other processes may help, and for what this one
    cannot read.
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

    def _check_folder(self, resume: bool) -> None:
        """The recipe is the one that is there."""

    def help(self) -> int:
        inputs, trained = self._load(), 0
        trials = self._trials()
        if trials is None:
            return trained
        rows = [Row.from_json(values) for values in self._read_json("files.json", [])]
        train = partial(self.train, ground=Ground(inputs, self._dense(inputs), rows))
        try:
            while not trials.ended:
                if trials.work(train):
                    trained += 1
                else:
                    time.sleep(POLL)
        except TrimformerError:
            if self.folder.is_dir():  # else the search is complete, and its file has gone
                raise
        return trained

    def _trials(self) -> Trials | None:
        """The search's, as soon as it has candidates; None where it ends without."""
        console.print("Waiting for work")
        while self.folder.is_dir():
            name = self._read_json("study.json", None)
            if name is not None:
                return Trials(storage_url(self.storage, self.work), name)
            time.sleep(POLL)
        return None
