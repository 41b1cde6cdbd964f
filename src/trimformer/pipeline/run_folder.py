"""Where a run works: ``OUT.partial``, which becomes ``OUT`` only when everything is there."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from ..console import console
from ..errors import TrimformerError
from ..files import atomic_file, atomic_folder, require_new_folder
from ..recipe.reading import load_recipe
from ..recipe.settings import Recipe, differences


class RunFolder:
    """The folder of a run of a recipe, new or resumed, with the steps that are done and what they found.

    Raises TrimformerError for a folder that belongs to something else, and for a resumed run of another recipe.
    """

    def __init__(self, recipe: Recipe, resume: bool, accelerator: Accelerator) -> None:
        self.recipe, self.resume, self.accelerator = recipe, resume, accelerator
        self.out = Path(recipe.out)
        require_new_folder(self.out)
        self.folder = partial_folder(self.out)
        self.work = self.folder / "work"
        if accelerator.is_main_process:
            self._check_folder(resume)
        accelerator.wait_for_everyone()
        self.continued = False
        self.steps: list[dict[str, Any]] = self._read_json("steps.json", [])

    def _check_folder(self, resume: bool) -> None:
        """Refuse to touch another run."""
        saved = self.folder / "recipe.yaml"
        if not resume and self.folder.exists():
            raise TrimformerError(
                f"An unfinished run is in {self.folder}: go on with `{resume_command(self.out)}`, or delete it."
            )
        if not resume:
            return
        if not saved.is_file():
            raise TrimformerError(f"There is no unfinished run in {self.folder} to resume: run without --resume.")
        changed = differences(load_recipe(saved), self.recipe)
        if changed:
            raise TrimformerError(
                f"The recipe differs from that of the unfinished run in {', '.join(changed)}: "
                f"go on with `{resume_command(self.out)}`."
            )

    def _make_folder(self) -> None:
        """Only when everything could be read: a mistake in the data or the settings leaves nothing behind."""
        if self.accelerator.is_main_process and not self.resume:
            if self.folder.exists():
                raise TrimformerError(f"Another run has started in {self.folder}: choose another output folder.")
            with atomic_folder(self.folder) as folder:
                (folder / "work").mkdir()
                self.recipe.save(folder / "recipe.yaml")
        self.accelerator.wait_for_everyone()

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
