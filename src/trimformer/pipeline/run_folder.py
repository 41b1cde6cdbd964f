"""Where a run works: ``OUT.partial``, which becomes ``OUT`` only when everything is there."""

from __future__ import annotations

import contextlib
import json
import shlex
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from ..console import console
from ..encoder.model.heads import TrimformerWithHead
from ..errors import TrimformerError
from ..files import atomic_file, atomic_folder, require_new_folder
from ..lock import hold
from ..recipe.settings import Recipe
from ..tasks.labels import shown
from .digests import Start, changed, digests, read_start
from .inputs import Inputs


class RunFolder:
    """The folder of a run of a recipe, new or resumed, with the steps that are done and what they found."""

    def __init__(self, recipe: Recipe, resume: bool, accelerator: Accelerator) -> None:
        self.recipe, self.resume, self.accelerator = recipe, resume, accelerator
        self.out = Path(recipe.out)
        require_new_folder(self.out)
        self.folder = partial_folder(self.out)
        self.work = self.folder / "work"
        self._claim = contextlib.ExitStack()
        self.continued = False
        self.steps: list[dict[str, Any]] = self._read_json("steps.json", [])

    @contextlib.contextmanager
    def claimed(self) -> Iterator[None]:
        """Keep other runs out of the folder until the block ends, from where it is there.

        Raises TrimformerError for a folder that another process works in or that belongs to something else, where there
        is nothing to resume, and for a resumed run of another recipe.
        """
        with self._claim:
            if self.accelerator.is_main_process:
                self._check_folder()
            self.accelerator.wait_for_everyone()
            yield

    def _check_folder(self) -> None:
        """Refuse to touch another run."""
        if not self.folder.exists():
            if self.resume:
                raise TrimformerError(f"There is no unfinished run in {self.folder} to resume: run without --resume.")
            return
        self._lock()
        start = read_start(self.work)
        if not self.resume:
            raise TrimformerError(
                f"An unfinished run is in {self.folder}: go on with `{resume_command(self.out)}`, or delete it."
            )
        self._require_same(start.model_copy(update={"recipe": self.recipe}))
        self.recipe.save(self.folder / "recipe.yaml")  # somebody may have edited it, to no effect

    def _lock(self) -> None:
        self._claim.enter_context(hold(self.folder.with_name(f"{self.folder.name}.lock")))

    def _require_same(self, now: Start) -> None:
        changes = changed(read_start(self.work), now)
        if changes:
            raise TrimformerError(
                f"The unfinished run in {self.folder} cannot go on with what has changed since its start: "
                f"{shown(changes)}; restore that, or start in a new folder."
            )

    def _begin(self, inputs: Inputs, baseline: TrimformerWithHead | None) -> None:
        """Make the folder of a new run; refuse to go on with other inputs than a resumed one was started with.

        Only when everything could be read: a mistake in the data or the settings leaves nothing behind.
        """
        if self.accelerator.is_main_process:
            start = Start(recipe=self.recipe, inputs=digests(inputs, baseline))
            if self.resume:
                self._require_same(start)
            else:
                self._make_folder(start)
        self.accelerator.wait_for_everyone()

    def _make_folder(self, start: Start) -> None:
        self._lock()
        if self.folder.exists():
            raise TrimformerError(f"Another run has started in {self.folder}: choose another output folder.")
        with atomic_folder(self.folder) as folder:
            (folder / "work").mkdir()
            start.save(folder / "work")
            self.recipe.save(folder / "recipe.yaml")

    def _step(self, name: str, work: Callable[[], Any]) -> Any:
        """Do one step and note its time; the work itself knows whether it is done already."""
        start = time.perf_counter()
        result = work()
        seconds = time.perf_counter() - start
        entry = next((step for step in self.steps if step["name"] == name), None)
        if entry is None:
            # A resumed run times its first unfinished step from there on only.
            cut = self.resume and name != "load" and not self.continued
            self.continued = self.continued or cut
            note = "since the run was resumed" if cut else ""
            self.steps.append({"name": name, "seconds": seconds, "note": note})
            if self.accelerator.is_main_process:
                self._write_json("steps.json", self.steps)
        if self.accelerator.is_main_process:
            console.print(f"[bold]{name}[/bold] {seconds:.1f} s" if entry is None else f"{name} (done before)")
        return result

    def _read_json(self, name: str, default: Any) -> Any:
        file = self.work / name
        return json.loads(file.read_text("utf-8")) if file.is_file() else default

    def _write_json(self, name: str, content: Any) -> None:
        with atomic_file(self.work / name) as file:
            file.write_text(json.dumps(content), encoding="utf-8")


def partial_folder(out: Path) -> Path:
    """Where a run works until it is complete."""
    return out.with_name(f"{out.name}.partial")


def resume_command(out: Path) -> str:
    """The command line that goes on with an unfinished run."""
    return f"trimformer run {shlex.quote(str(partial_folder(out) / 'recipe.yaml'))} --resume"
