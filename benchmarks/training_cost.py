"""What a training step of each method costs against plain fine-tuning: ``python benchmarks/training_cost.py``.

One run, interleaved: each round takes ten steps of every method in turn (one whole pruning step of the faithful
variant), on the demo encoder with batches of 32. Reported are medians over the rounds and the share of each part.
The layerwise gates are at their start, where most layers are kept: the costliest moment of a search.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator

from trimformer.encoder.checkpoints.load import build, load_tokenizer, read_checkpoint
from trimformer.files import atomic_file
from trimformer.hardware import hardware, has_native_bf16
from trimformer.methods import METHODS, Context
from trimformer.tasks.data import Task
from trimformer.tasks.encode import encode
from trimformer.tasks.encoding.batches import bucketed_batches
from trimformer.tasks.encoding.encoded import Encoded
from trimformer.tasks.settings import TaskSettings
from trimformer.tasks.task import load_task
from trimformer.training.settings import ObjectiveSettings, TrainingSettings

RESULT = Path(__file__).parent / "results" / "training_cost.json"
STEPS = 10
SETTINGS = {
    "plain": ("none", {}),
    "faithful": ("attendout-faithful", {}),
    "layerwise": ("attendout", {"keep_layers": 3}),
}


def full_length(data: Encoded, length: int) -> Encoded:
    """As many rows of random tokens, all of one length."""
    rows = len(data)
    ids = np.random.default_rng(0).integers(1000, 20000, rows * length).astype(np.int32)
    return dataclasses.replace(data, ids=ids, types=None, offsets=np.arange(rows + 1) * length, truncated=0)


def measure(train: Encoded, selection: Encoded, task: Task, rounds: int) -> dict[str, object]:
    """Seconds per step by method, and by part of the method."""
    accelerator = Accelerator(mixed_precision="bf16" if has_native_bf16() else "no")
    training = TrainingSettings(learning_rate=1e-5)
    checkpoint = read_checkpoint("demo")
    learners = {}
    for name, (method, settings) in SETTINGS.items():
        torch.manual_seed(0)
        model = build(checkpoint, labels=task.labels, kind=task.kind)
        context = Context(
            model,
            None,
            task,
            train,
            selection,
            training,
            ObjectiveSettings(),
            accelerator,
            0,
            10_000,
        )
        learners[name] = METHODS[method](METHODS[method].Settings(name=method, **settings), context)
    order = bucketed_batches(train.lengths, training.batch_size, seed=0, epoch=0)
    seconds: dict[str, list[float]] = {name: [] for name in learners}
    for number in range(rounds + 1):
        if number == 1:  # the first round warms up
            for learner in learners.values():
                learner.clock.seconds.clear()
        batches = [train.batch(order[(number * STEPS + i) % len(order)]) for i in range(STEPS)]
        for name, learner in learners.items():
            start = time.perf_counter()
            for index, batch in enumerate(batches):
                learner.micro_step(batch, 1.0)
                learner.update(number * STEPS + index + 1)
            if number:
                seconds[name].append((time.perf_counter() - start) / STEPS)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "seconds_per_step": medians,
        "times_plain": {name: value / medians["plain"] for name, value in medians.items()},
        "parts": {name: learner.clock.per_step(rounds * STEPS) for name, learner in learners.items()},
        "precision": accelerator.mixed_precision,
        "rounds": rounds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--json", type=Path, default=RESULT)
    options = parser.parse_args()
    data = load_task(TaskSettings(name="sentiment", train_limit=3000))
    tokenizer = load_tokenizer("demo")
    short, selection = (encode(data.task, rows, tokenizer, 128) for rows in (data.train, data.selection))
    settings = {f"sentiment (mean length {short.lengths.mean():.0f})": (short, selection)}
    settings["128 tokens"] = (full_length(short, 128), full_length(selection, 128))
    results: dict[str, object] = {"command": "python " + " ".join(sys.argv), "hardware": hardware(), "batch": 32}
    for name, (train, held_out) in settings.items():
        results[name] = found = measure(train, held_out, data.task, options.rounds)
        print(name, json.dumps(found, indent=1), flush=True)
    with atomic_file(options.json) as file:
        file.write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
