"""The one training loop: epochs, accumulation, early stopping, checkpoints, resume, interruption, progress.

What happens in a step belongs to the learner (plain fine-tuning, or a method with several networks); everything else
is here.
"""

from __future__ import annotations

import contextlib
import json
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from rich.progress import Progress
from torch import Tensor

from ..errors import TrimformerError
from ..files import atomic_file
from ..tasks.encoding.batches import bucketed_batches
from ..tasks.encoding.couples import Couples
from ..tasks.encoding.encoded import Encoded
from ..tasks.encoding.part import Part
from ..work_files import explain_damage
from .clock import Clock
from .memory import freed_memory_kept
from .network import Network, NonFiniteLoss
from .paired import Paired
from .settings import TrainingSettings


class Learner(Protocol):
    """What the loop asks of plain fine-tuning and of every method that learns.

    networks: what is trained; saved and restored by the loop. clock: the learner times its parts with it.
    """

    networks: dict[str, Network]
    clock: Clock

    def micro_step(self, batch: dict[str, Tensor], share: float) -> dict[str, float]:
        """Add the gradients of one micro-batch (``share`` = 1 / accumulation); the values returned are logged."""

    def update(self, step: int) -> dict[str, float]:
        """One optimiser step, numbered from 1; the values returned are logged."""

    def validate(self) -> float | None:
        """Score of the weights so far on the selection split, higher is better; None: nothing to choose from."""

    def state_dict(self) -> dict[str, Any]:
        """What must survive a restart beside the networks: tensors, numbers, strings, lists and dicts only."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what ``state_dict`` gave."""


class Interrupted(KeyboardInterrupt):
    """Training was stopped by a signal after the state had been saved."""


def total_steps(n_examples: int, settings: TrainingSettings, processes: int = 1) -> int:
    """Optimiser steps of a run."""
    return max(1, int(settings.epochs * _per_epoch(n_examples, settings, processes)) // settings.accumulate)


def passes(steps: int, n_examples: int, settings: TrainingSettings, processes: int = 1) -> float:
    """Passes over the data that so many optimiser steps are."""
    return steps * settings.accumulate / _per_epoch(n_examples, settings, processes)


def _per_epoch(n_examples: int, settings: TrainingSettings, processes: int) -> int:
    """Micro-batches of each process in a pass."""
    return -(-n_examples // settings.batch_size) // processes


def train(
    learner: Learner,
    data: Encoded | Paired | Couples | Part,
    settings: TrainingSettings,
    accelerator: Accelerator,
    folder: Path,
    *,
    seed: int,
    title: str,
    progress: Progress | None = None,
    deadline: float | None = None,
    begin: float = 0.0,
) -> int:
    """Train until the epochs are over or the selection score stops rising; continues from ``folder`` if it was cut.

    folder: holds ``state-<rank>.pt`` (everything needed to go on), ``best.pt`` and ``metrics.jsonl``. Afterwards the
    networks hold the weights of the best epoch, where the learner validates and ``keep_best`` is on. Returns the
    optimiser steps done.
    deadline: on the clock of ``time.monotonic``; the first step that ends after it is the last one.
    begin: passes over the data that the trainings before it have made; it goes on in the order of the rows where they
    stopped.

    Raises TrimformerError with the step when a loss becomes NaN or infinite (the last good checkpoint stays), and
    Interrupted after Ctrl-C or SIGTERM, when the state has been saved.
    """
    run = _Run(learner, accelerator, folder)
    steps = total_steps(len(data), settings, accelerator.num_processes)
    per_epoch = _per_epoch(len(data), settings, accelerator.num_processes)
    first = round(begin * per_epoch)
    run.restore()
    bar = progress.add_task(title, total=steps, completed=run.step) if progress else None
    batches: list[list[int]] = []
    drawn, loaded_epoch = data, -1
    last_saved = time.monotonic()
    with freed_memory_kept(), _signals_noted() as signals:
        while run.step < steps and not run.finished:
            logged: dict[str, float] = {}
            try:
                for _ in range(settings.accumulate):
                    epoch, index = divmod(first + run.micro, per_epoch)
                    if epoch != loaded_epoch:
                        every = bucketed_batches(data.lengths, settings.batch_size, seed, epoch)
                        batches = every[accelerator.process_index :: accelerator.num_processes][:per_epoch]
                        drawn, loaded_epoch = data.of_epoch(seed, epoch), epoch
                    batch = {k: v.to(accelerator.device) for k, v in drawn.batch(batches[index]).items()}
                    logged |= learner.micro_step(batch, 1 / settings.accumulate)
                    run.micro += 1
                logged |= learner.update(run.step + 1)
            except NonFiniteLoss as error:
                saved = (
                    f"the last good state is kept in {folder}" if run.state_file.is_file() else "no state was saved yet"
                )
                raise TrimformerError(
                    f"Training diverged at step {run.step + 1} of {title}: {error}; {saved}. "
                    f"Lower the learning rate ({settings.learning_rate:g}) and start in a new folder."
                ) from error
            run.step += 1
            run.log({"stage": title, "step": run.step, **logged})
            if progress and bar is not None:
                progress.update(bar, completed=run.step, description=f"{title}  {_brief(logged)}")
            late = deadline is not None and run.agree(time.monotonic() >= deadline)[0]
            ended = run.micro // per_epoch > (run.micro - settings.accumulate) // per_epoch
            if settings.keep_best and (ended or run.step == steps or late):
                run.end_of_epoch(settings.patience, title)
            run.finished = run.finished or late
            due = time.monotonic() - last_saved >= settings.checkpoint_seconds
            stopping, due = run.agree(signals.received, due)
            if stopping or due:
                run.save()
                last_saved = time.monotonic()
            if stopping:
                raise Interrupted(f"stopped at step {run.step} of {title}")
    run.restore_best()
    run.write_metrics()
    accelerator.wait_for_everyone()  # the caller may delete the files that another process still reads
    return run.step


class _Run:
    """Where a training run stands, in memory and on disk."""

    def __init__(self, learner: Learner, accelerator: Accelerator, folder: Path) -> None:
        self.learner, self.accelerator, self.folder = learner, accelerator, folder
        self.state_file = folder / f"state-{accelerator.process_index}.pt"
        self.best_file = folder / "best.pt"
        self.remedy = f"delete the folder {folder}, and its training starts anew"
        self.metrics_file = folder / "metrics.jsonl"
        self.step = 0  # optimiser steps done
        self.micro = 0  # micro-batches seen
        self.best: float | None = None
        self.waiting = 0  # epochs since the best
        self.finished = False
        self.lines: list[str] = []

    def end_of_epoch(self, patience: int, title: str) -> None:
        try:
            with self.learner.clock("evaluation"):
                score = self.learner.validate()
        except TrimformerError as error:
            raise TrimformerError(f"After step {self.step} of {title}: {error}") from error
        if score is None:
            return
        self.log({"stage": title, "step": self.step, "selection_score": score})
        if self.best is None or score > self.best:
            self.best, self.waiting = score, 0
            if self.accelerator.is_main_process:
                with atomic_file(self.best_file) as file:
                    weights = {name: n.bare.state_dict() for name, n in self.learner.networks.items()}
                    torch.save(weights, file)
        else:
            self.waiting += 1
            self.finished = self.waiting >= patience
        self.accelerator.wait_for_everyone()

    def restore_best(self) -> None:
        if self.best is not None:
            with explain_damage(self.best_file, self.remedy):
                best = torch.load(self.best_file, weights_only=True, map_location="cpu")
                for name, network in self.learner.networks.items():
                    network.bare.load_state_dict(best[name])

    def log(self, values: dict[str, Any]) -> None:
        if self.accelerator.is_main_process:
            self.lines.append(json.dumps(values))

    def write_metrics(self) -> None:
        # The whole file at once: the lines are part of the saved state, so a restart never repeats one.
        if self.accelerator.is_main_process:
            with atomic_file(self.metrics_file) as file:
                file.write_text("".join(line + "\n" for line in self.lines), encoding="utf-8")

    def agree(self, *flags: bool) -> list[bool]:
        """Each flag is true where any process has it, so that all save and stop at the same step."""
        if self.accelerator.num_processes == 1:
            return list(flags)
        counts = self.accelerator.reduce(torch.tensor(flags, device=self.accelerator.device).int(), reduction="sum")
        return [bool(count) for count in counts.tolist()]

    def save(self) -> None:
        state = {
            "processes": self.accelerator.num_processes,
            "step": self.step,
            "micro": self.micro,
            "best": self.best,
            "waiting": self.waiting,
            "finished": self.finished,
            "networks": {name: network.state_dict() for name, network in self.learner.networks.items()},
            "learner": self.learner.state_dict(),
            "clock": dict(self.learner.clock.seconds),
            "rng": _rng_state(),
            "lines": self.lines,
        }
        with atomic_file(self.state_file) as file:
            torch.save(state, file)
            self.accelerator.wait_for_everyone()  # all have written before any replaces its last state
        self.write_metrics()

    def restore(self) -> None:
        with explain_damage(self.state_file, self.remedy):
            self._restore()

    def _restore(self) -> None:
        state: dict[str, Any] = {"step": 0, "processes": self.accelerator.num_processes}
        if self.state_file.is_file():
            state = torch.load(self.state_file, weights_only=True, map_location="cpu")
        steps = self.accelerator.gather(torch.tensor([state["step"]], device=self.accelerator.device)).tolist()
        if state["processes"] != self.accelerator.num_processes or len(set(steps)) > 1:
            raise TrimformerError(
                f"The states saved in {self.folder} are of {state['processes']} processes at the steps "
                f"{', '.join(map(str, steps))}: resume with as many processes, or delete that folder."
            )
        if state["step"] == 0:
            return
        self.step, self.micro = state["step"], state["micro"]
        self.best, self.waiting, self.finished = state["best"], state["waiting"], state["finished"]
        for name, network in self.learner.networks.items():
            network.load_state_dict(state["networks"][name])
        self.learner.load_state_dict(state["learner"])
        self.learner.clock.seconds.update(state["clock"])
        self.lines = state["lines"]
        _set_rng_state(state["rng"])


def _rng_state() -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def _set_rng_state(states: Mapping[str, Tensor]) -> None:
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])


class _Signals:
    received = False


@contextlib.contextmanager
def _signals_noted() -> Iterator[_Signals]:
    """Note Ctrl-C and SIGTERM so that the loop can save and stop between two steps; a second Ctrl-C stops at once."""
    noted = _Signals()

    def note(number: int, frame: FrameType | None) -> None:
        if noted.received:
            raise KeyboardInterrupt
        noted.received = True

    try:
        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not in the main thread: the caller's own handlers stay
        before = {}
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _brief(values: Mapping[str, float]) -> str:
    return " ".join(f"{name} {value:.3g}" for name, value in list(values.items())[:2])
