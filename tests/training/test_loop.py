"""The training loop: stopping, diverging, accumulating, interruption."""

import json
import os
import platform
import resource
import signal
import statistics
import time

import pytest
import torch

from tests.learning import context, make_method
from trimformer import TrimformerError
from trimformer.training.loop import Interrupted, passes, total_steps, train
from trimformer.training.settings import TrainingSettings


def fit(stage, folder, method=None, deadline=None):
    method = method or make_method("none", stage)
    torch.manual_seed(7)
    folder.mkdir(exist_ok=True)
    train(method, stage.train, stage.training, stage.accelerator, folder, seed=0, title="stage", deadline=deadline)
    return method


def logged(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_training_learns_the_toy_task(tmp_path):
    stage = context(rows=512, epochs=12, learning_rate=1e-3, layers=2, patience=12)
    method = fit(stage, tmp_path)
    assert method.validate() >= 0.9


def test_every_step_and_every_epoch_is_logged(tmp_path):
    stage = context(epochs=2)  # 48 rows in batches of 8
    fit(stage, tmp_path)
    lines = logged(tmp_path)
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, 13))
    assert len([line for line in lines if "selection_score" in line]) == 2


def test_stops_when_the_selection_score_stops_rising_and_keeps_the_best(tmp_path):
    stage = context(epochs=9, patience=2)
    method = make_method("none", stage)
    scores = iter([0.5, 0.7, 0.7, 0.6, 0.9])
    seen = []

    def validate():
        seen.append(stage.model.head.output.weight.detach().clone())
        return next(scores)

    method.validate = validate
    fit(stage, tmp_path, method)
    assert len(seen) == 4  # two epochs after the best one
    assert torch.equal(stage.model.head.output.weight, seen[1])


def test_the_last_weights_without_a_look_at_the_selection_rows(tmp_path):
    stage = context(epochs=3, keep_best=False)
    method = make_method("none", stage)
    method.validate = lambda: pytest.fail("nothing is to be scored")
    steps = []
    update = method.update

    def noted(step):
        logged = update(step)
        steps.append(stage.model.head.output.weight.detach().clone())
        return logged

    method.update = noted
    fit(stage, tmp_path, method)
    assert len(steps) == 18
    assert torch.equal(stage.model.head.output.weight, steps[-1])


def test_a_part_of_an_epoch(tmp_path):
    stage = context(epochs=0.5)
    fit(stage, tmp_path)
    assert [line["step"] for line in logged(tmp_path) if "loss" in line] == [1, 2, 3]


@pytest.mark.parametrize(
    ("rows", "batch", "epochs", "accumulate", "processes", "steps"),
    [(48, 8, 2, 1, 1, 12), (50, 8, 1, 1, 1, 7), (48, 8, 2, 2, 1, 6), (48, 8, 2, 1, 2, 6), (5, 8, 0.1, 1, 1, 1)],
)
def test_total_steps(rows, batch, epochs, accumulate, processes, steps):
    settings = TrainingSettings(batch_size=batch, epochs=epochs, accumulate=accumulate)
    assert total_steps(rows, settings, processes) == steps


def test_accumulated_micro_batches_give_the_gradient_of_the_whole_batch():
    stage = context()
    whole, parts = stage.train.batch(range(16)), [stage.train.batch(range(i, i + 8)) for i in (0, 8)]
    gradients = []
    for batches in ([whole], parts):
        method = make_method("none", context())
        method.networks["model"].module.eval()
        for batch in batches:
            method.micro_step(batch, 1 / len(batches))
        gradients.append([p.grad for p in method.model.parameters() if p.grad is not None])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)


def test_a_loss_that_is_not_finite_names_the_step_and_keeps_the_last_state(tmp_path):
    stage = context(epochs=2, checkpoint_seconds=0)
    method = make_method("none", stage)
    plain = method.micro_step
    calls = []

    def poisoned(batch, share):
        calls.append(1)
        if len(calls) == 5:
            for weight in stage.model.head.output.parameters():
                weight.data.fill_(float("nan"))
        return plain(batch, share)

    method.micro_step = poisoned
    with pytest.raises(TrimformerError, match="diverged at step 5 of stage"):
        fit(stage, tmp_path, method)
    state = torch.load(tmp_path / "state-0.pt", weights_only=True)
    assert state["step"] == 4
    assert all(torch.isfinite(weight).all() for weight in state["networks"]["model"]["weights"].values())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_the_state_and_stops_between_two_steps(tmp_path, number):
    stage = context(epochs=2, checkpoint_seconds=1e9)
    method = make_method("none", stage)
    update = method.update

    def interrupted(step):
        if step == 3:
            os.kill(os.getpid(), number)
        return update(step)

    method.update = interrupted
    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match="step 3"):
        fit(stage, tmp_path, method)
    assert torch.load(tmp_path / "state-0.pt", weights_only=True)["step"] == 3
    assert signal.getsignal(number) == before


def test_a_deadline_ends_training_with_the_step(tmp_path):
    stage = context(epochs=2)
    fit(stage, tmp_path, deadline=time.monotonic())
    (step, end) = logged(tmp_path)
    assert step["step"] == end["step"] == 1
    assert "selection_score" in end


def rows_seen(folder, epochs, begin, stop_before=None, **training):
    """The rows of the micro-batches of a training, cut before a step and resumed where one is named; and its end."""
    seen = []

    class Noted(Exception):
        pass

    for cut in [stop_before, None] if stop_before else [None]:
        stage = context(**({"rows": 800, "epochs": epochs, "layers": 1, "keep_best": False} | training))
        method = make_method("none", stage)
        method.micro_step = lambda batch, share: {}

        def update(step, cut=cut):
            if step == cut:
                raise Noted
            return {}

        def batch(indices, rows=stage.train):
            seen.append(tuple(indices))
            return rows.batch(indices)

        method.update = update
        data = Watched(stage.train, batch)
        folder.mkdir(exist_ok=True)
        try:
            steps = train(method, data, stage.training, stage.accelerator, folder, seed=0, title="stage", begin=begin)
        except Noted:
            del seen[-stage.training.accumulate :]  # the batches of the step that was not done
    return seen, begin + passes(steps, len(stage.train), stage.training)


class Watched:
    """A split whose batches are noted."""

    def of_epoch(self, seed, epoch):
        return self

    def __init__(self, data, batch):
        self.lengths, self.batch, self.rows = data.lengths, batch, len(data)

    def __len__(self):
        return self.rows


def test_rungs_go_on_in_the_order_of_the_rows(tmp_path):
    every, at = [], 0.0
    for rung, epochs in enumerate((0.05, 0.11, 0.21)):
        seen, at = rows_seen(tmp_path / str(rung), epochs, at)
        every += [row for batch in seen for row in batch]
    assert len(every) == len(set(every)) == 296  # 5, 11 and 21 of 100 batches of 8, none of them twice
    assert at == pytest.approx(0.37)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_training_after_half_an_epoch_sees_the_other_half_also_when_it_is_resumed(tmp_path, accumulate):
    training = {"rows": 80, "accumulate": accumulate, "checkpoint_seconds": 0}
    first, at = rows_seen(tmp_path / "first", 0.5 + 0.1 * (accumulate - 1), 0.0, **training)
    whole, end = rows_seen(tmp_path / "whole", 1.0, at, **training)
    again, end_again = rows_seen(tmp_path / "cut", 1.0, at, stop_before=3, **training)
    assert (again, end_again) == (whole, end)
    halves = [row for batch in first + whole[: 10 - len(first)] for row in batch]
    assert sorted(halves) == list(range(80))
    assert whole[10 - len(first) :] != first[: len(first)]  # the next pass has an order of its own


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has other rules")
def test_what_a_step_frees_is_there_for_the_next(tmp_path):
    """A block that is large enough for glibc to give it back is not cleared by the system anew in each step."""

    def faults():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.zeros(2**24)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    stage = context(rows=128, layers=1, keep_best=False)
    method = make_method("none", stage)
    seen = []
    method.micro_step = lambda batch, share: seen.append(faults()) or {}
    method.update = lambda step: {}
    train(method, stage.train, stage.training, stage.accelerator, tmp_path, seed=0, title="stage")
    # 64 MB have 32 pages of the largest kind, 16,384 of the usual one; a few steps pay for what others left in between.
    assert statistics.median(seen) < 8
    assert faults() > 8
