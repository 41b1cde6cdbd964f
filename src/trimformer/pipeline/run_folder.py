"""Where a run works: ``OUT.partial``, which becomes ``OUT`` only when everything is there."""

from __future__ import annotations

import contextlib
import json
import shlex
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from ..console import console
from ..encoder.model.heads import TrimformerWithHead
from ..errors import TrimformerError, explain_write_errors
from ..files import atomic_file, atomic_folder, folder_lock, require_new_folder
from ..lock import hold
from ..recipe.settings import Recipe
from ..report.schema import Step
from ..tasks.labels import shown
from ..work_files import read_work_file
from .digests import StartedWith, changed, digests, read_start
from .inputs import Inputs

REMEDY = "move what is there elsewhere, and resume the run"


class RunFolder:
    """The folder of a run of a recipe, new or resumed, with the steps that are done and what they found.

    path: where the run works. out: the name that this folder gets when everything is there. work: what is not kept.
    """

    def __init__(self, recipe: Recipe, resume: bool, accelerator: Accelerator) -> None:
        self.recipe, self.resume, self.accelerator = recipe, resume, accelerator
        self.out = Path(recipe.out)
        self.path = partial_folder(self.out)
        if not resume:
            require_new_folder(self.out)
        elif self.path.exists():
            require_new_folder(self.out, REMEDY)
        self.work = self.path / "work"
        self._claim = contextlib.ExitStack()
        self.continued = False
        steps: list[Step] = self.read_json("steps.json", list[Step], [])
        self.steps: list[dict[str, Any]] = [step.model_dump() for step in steps]

    @contextlib.contextmanager
    def claimed(self) -> Iterator[None]:
        """Keep other runs out of the folder until the block ends, from where it is there.

        Raises TrimformerError for a folder that another process works in or that belongs to something else, where there
        is nothing to resume, and for a resumed run of another recipe.
        """
        with self._claim:
            if self.accelerator.is_main_process:
                self._check()
            self.accelerator.wait_for_everyone()
            yield

    def _check(self) -> None:
        """Refuse to touch another run."""
        if not self.path.exists():
            if self.resume and (self.out / "recipe.yaml").is_file():
                raise TrimformerError(f"The run in {self.out} is complete, so that nothing is left to resume.")
            if self.resume:
                raise TrimformerError(f"There is no unfinished run in {self.path} to resume: run without --resume.")
            return
        self._lock()
        start = read_start(self.work)
        if not self.resume:
            raise TrimformerError(
                f"An unfinished run is in {self.path}: go on with `{resume_command(self.out)}`, or delete it."
            )
        self._require_same(start.model_copy(update={"recipe": self.recipe}))
        self.recipe.save(self.path / "recipe.yaml")  # somebody may have edited it, to no effect

    def _lock(self) -> None:
        self._claim.enter_context(hold(folder_lock(self.out)))

    def _require_same(self, now: StartedWith) -> None:
        changes = changed(read_start(self.work), now)
        if changes:
            raise TrimformerError(
                f"The unfinished run in {self.path} cannot go on with what has changed since its start: "
                f"{shown(changes)}; restore that, or start in a new folder."
            )

    def begin(self, inputs: Inputs, baseline: TrimformerWithHead | None) -> None:
        """Make the folder of a new run; refuse to go on with other inputs than a resumed one was started with.

        Only when everything could be read: a mistake in the data or the settings leaves nothing behind.
        """
        if self.accelerator.is_main_process:
            start = StartedWith(recipe=self.recipe, inputs=digests(inputs, baseline, self.recipe.stages))
            if self.resume:
                self._require_same(start)
            else:
                self._make(start)
        self.accelerator.wait_for_everyone()

    def _make(self, start: StartedWith) -> None:
        self._lock()
        require_new_folder(self.out)  # it was when the data were not read yet
        if self.path.exists():
            raise TrimformerError(f"Another run has started in {self.path}: choose another output folder.")
        with atomic_folder(self.path) as folder:
            (folder / "work").mkdir()
            start.save(folder / "work")
            self.recipe.save(folder / "recipe.yaml")

    def step(self, name: str, work: Callable[[], Any]) -> Any:
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
                self.write_json("steps.json", self.steps)
        if self.accelerator.is_main_process:
            console.print(f"[bold]{name}[/bold] {seconds:.1f} s" if entry is None else f"{name} (done before)")
        return result

    def kept(self, name: str, of: Any, work: Callable[[], Any]) -> Any:
        """Plain values that are worked out once, and read when the run is resumed, as values of a type."""
        known = self.read_json(f"{name}.json", of, None)
        if known is None:
            found = work()
            self.write_json(f"{name}.json", found)
            known = self.read_json(f"{name}.json", of, None)
        return known

    def finish(self, metrics: Sequence[Path]) -> None:
        """Join what the trainings logged, give the folder its name and delete what is not kept."""
        with atomic_file(self.path / "metrics.jsonl") as file:
            file.write_text("".join(log.read_text("utf-8") for log in metrics if log.is_file()), "utf-8")
        # What has come there since the start is somebody else's.
        require_new_folder(self.out, f"the run is complete in {self.path}, so {REMEDY} (`{resume_command(self.out)}`)")
        with explain_write_errors(self.out):
            self.path.rename(self.out)
            shutil.rmtree(self.out / "work")

    def read_json(self, name: str, of: Any, default: Any) -> Any:
        """What was written down under this name, as values of a type; the default where nothing was."""
        file = self.work / name
        return (
            read_work_file(file, of, "delete it, and what it says is worked out again") if file.is_file() else default
        )

    def write_json(self, name: str, content: Any) -> None:
        """Write plain values down, for a run that is resumed."""
        with atomic_file(self.work / name) as file:
            file.write_text(json.dumps(content), encoding="utf-8")


def partial_folder(out: Path) -> Path:
    """Where a run works until it is complete."""
    return out.parent / f"{out.name}.partial"


def resume_command(out: Path) -> str:
    """The command line that goes on with an unfinished run."""
    return f"trimformer run {shlex.quote(str(partial_folder(out) / 'recipe.yaml'))} --resume"
