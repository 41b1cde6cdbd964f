"""Where a run works: ``OUT.partial``, which becomes ``OUT`` only when everything is there."""

from __future__ import annotations

import json
import shlex
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from ..console import console
from ..errors import TrimformerError
from ..files import atomic_file, atomic_folder, explain_write_errors, require_new_folder
from ..recipe.reading import load_recipe
from ..recipe.settings import Recipe, differences


class RunFolder:
    """The folder of a run of a recipe, new or resumed, with the steps that are done and what they found.

    path: where the run works. out: the name that this folder gets when everything is there. work: what is not kept.
    helps: for a process that does a part of a run which another has begun, and so nothing is checked.

    Raises TrimformerError for a folder that belongs to something else, and for a resumed run of another recipe.
    """

    def __init__(self, recipe: Recipe, resume: bool, accelerator: Accelerator, *, helps: bool = False) -> None:
        self.recipe, self.resume, self.accelerator = recipe, resume, accelerator
        self.out = Path(recipe.out)
        require_new_folder(self.out)
        self.path = partial_folder(self.out)
        self.work = self.path / "work"
        if accelerator.is_main_process and not helps:
            self._check(resume)
        accelerator.wait_for_everyone()
        self.continued = False
        self.steps: list[dict[str, Any]] = self.read_json("steps.json", [])

    def _check(self, resume: bool) -> None:
        """Refuse to touch another run."""
        saved = self.path / "recipe.yaml"
        if not resume and self.path.exists():
            raise TrimformerError(
                f"An unfinished run is in {self.path}: go on with `{resume_command(self.out)}`, or delete it."
            )
        if not resume:
            return
        if not saved.is_file():
            raise TrimformerError(f"There is no unfinished run in {self.path} to resume: run without --resume.")
        changed = differences(load_recipe(saved), self.recipe)
        if changed:
            raise TrimformerError(
                f"The recipe differs from that of the unfinished run in {', '.join(changed)}: "
                f"go on with `{resume_command(self.out)}`."
            )

    def make(self) -> None:
        """Only when everything could be read: a mistake in the data or the settings leaves nothing behind."""
        if self.accelerator.is_main_process and not self.resume:
            if self.path.exists():
                raise TrimformerError(f"Another run has started in {self.path}: choose another output folder.")
            with atomic_folder(self.path) as folder:
                (folder / "work").mkdir()
                self.recipe.save(folder / "recipe.yaml")
        self.accelerator.wait_for_everyone()

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

    def kept(self, name: str, work: Callable[[], Any]) -> Any:
        """Plain values that are worked out once, and read when the run is resumed."""
        known = self.read_json(f"{name}.json", None)
        if known is None:
            known = work()
            self.write_json(f"{name}.json", known)
        return known

    def finish(self, metrics: Sequence[Path]) -> None:
        """Join what the trainings logged, give the folder its name and delete what is not kept."""
        with atomic_file(self.path / "metrics.jsonl") as file:
            file.write_text("".join(log.read_text("utf-8") for log in metrics if log.is_file()), "utf-8")
        with explain_write_errors(self.out):
            self.path.rename(self.out)
            shutil.rmtree(self.out / "work")

    def read_json(self, name: str, default: Any) -> Any:
        """What was written down under this name; the default where nothing was."""
        file = self.work / name
        return json.loads(file.read_text("utf-8")) if file.is_file() else default

    def write_json(self, name: str, content: Any) -> None:
        """Write plain values down, for a run that is resumed."""
        with atomic_file(self.work / name) as file:
            file.write_text(json.dumps(content), encoding="utf-8")


def partial_folder(out: Path) -> Path:
    """Where a run works until it is complete."""
    return out.with_name(f"{out.name}.partial")


def resume_command(out: Path) -> str:
    """The command line that goes on with an unfinished run."""
    return f"trimformer run {shlex.quote(str(partial_folder(out) / 'recipe.yaml'))} --resume"
