"""The trainings of a search as trials of an Optuna study, which any number of processes work on.

Only the search itself queues trials, and only those that are neither done nor waiting nor under way, so that none is
there twice. Who trains gives signs of life; after too long a silence the trial counts as failed, which nothing that its
worker still does can change, and is queued again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..console import console
from .budget import share
from .halving import Point
from .storage import answering, open_storage
from .training import Job, Train

POLL = 1.0
"""Seconds between two looks at what there is to do."""


class Trials:
    """The study of a search, made where there is none of this name; every process opens its own.

    All of it raises TrimformerError where the database cannot be reached.
    """

    def __init__(self, url: str, name: str) -> None:
        self.storage = open_storage(url)
        import optuna

        self.optuna, self.state = optuna, optuna.trial.TrialState
        with answering():
            self.study = optuna.create_study(storage=self.storage, study_name=name, load_if_exists=True)

    @answering()
    def run(self, jobs: Sequence[Job], seconds: float, train: Train, watch: Callable[[], None]) -> list[Point]:
        """The jobs done, within so many seconds for all, by this process and those that help.

        watch: called before each training and while others train.
        """
        self.study.set_user_attr("until", time.time() + seconds)
        waits = False
        while len(done := self._done(jobs)) < len(jobs):
            watch()
            self._queue(jobs)
            if self.work(train):
                waits = False
                continue
            if not waits:
                console.print(f"Waiting for the last {len(jobs) - len(done)}, which other workers train")
            waits = True
            time.sleep(POLL)
        workers = {trial.user_attrs["worker"] for trial in done.values()}
        if len(workers) > 1:
            console.print(f"{len(jobs)} models trained by {len(workers)} workers")
        return [Point(**trial.user_attrs["after"]) for trial in done.values()]

    @answering()
    def work(self, train: Train) -> bool:
        """Train one that waits; False where none does. After an exception the trial counts as failed."""
        trial = self._take()
        if trial is None:
            return False
        attributes = trial.user_attrs
        job = Job(attributes["rung"], attributes["rungs"], Point(**attributes["point"]))
        with self._signs_of_life(trial._trial_id):
            try:
                after = train(job, self._share())
            except BaseException:
                self.study.tell(trial.number, state=self.state.FAIL, skip_if_finished=True)
                raise
            with contextlib.suppress(self.optuna.exceptions.UpdateFinishedTrialError):  # it was given to another
                self._note(trial, "worker", f"{socket.gethostname()}:{os.getpid()}")
                self._note(trial, "after", dataclasses.asdict(after))
                self.study.tell(trial.number, after.drop, skip_if_finished=True)
        return True

    @answering()
    def end(self) -> None:
        """Let the other workers go."""
        self.study.set_user_attr("ended", True)

    @property
    @answering()
    def ended(self) -> bool:
        """Whether there will be no more to train."""
        return bool(self.study.user_attrs.get("ended"))

    def _done(self, jobs: Sequence[Job]) -> dict[str, Any]:
        """The trials of those that are, in the order of the jobs."""
        complete = self.study.get_trials(deepcopy=False, states=(self.state.COMPLETE,))
        found = {_key(trial): trial for trial in complete}
        keys = [(job.rung, job.point.name) for job in jobs]
        return {name: found[rung, name] for rung, name in keys if (rung, name) in found}

    def _queue(self, jobs: Sequence[Job]) -> None:
        """Those that no trial is there for, or only failed ones."""
        self.optuna.storages.fail_stale_trials(self.study)
        there = {_key(trial) for trial in self.study.get_trials(deepcopy=False) if trial.state != self.state.FAIL}
        for job in jobs:
            if (job.rung, job.point.name) not in there:
                waiting = self.optuna.create_trial(state=self.state.WAITING, user_attrs=dataclasses.asdict(job))
                self.study.add_trial(waiting)

    def _take(self) -> Any | None:
        """A waiting trial, from now on that of this process alone."""
        for trial in self.study.get_trials(deepcopy=False, states=(self.state.WAITING,)):
            with contextlib.suppress(self.optuna.exceptions.UpdateFinishedTrialError):
                self.storage.record_heartbeat(trial._trial_id)  # one that never gave a sign would not count as silent
                if self.storage.set_trial_state_values(trial._trial_id, self.state.RUNNING):
                    return trial
        return None

    def _share(self) -> float:
        """Seconds for a training that starts now."""
        trials = self.study.get_trials(deepcopy=False, states=(self.state.WAITING, self.state.RUNNING))
        running = sum(trial.state == self.state.RUNNING for trial in trials)
        return share(self.study.user_attrs["until"] - time.time(), len(trials) - running, running)

    @contextlib.contextmanager
    def _signs_of_life(self, trial: int) -> Iterator[None]:
        over = threading.Event()

        def give() -> None:
            while not over.wait(self.storage.get_heartbeat_interval()):
                with contextlib.suppress(self.optuna.exceptions.StorageInternalError):  # the next one may get through
                    self.storage.record_heartbeat(trial)

        thread = threading.Thread(target=give, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _note(self, trial: Any, name: str, value: Any) -> None:
        self.storage.set_trial_user_attr(trial._trial_id, name, value)


def _key(trial: Any) -> tuple[int, str]:
    return trial.user_attrs["rung"], trial.user_attrs["point"]["name"]
