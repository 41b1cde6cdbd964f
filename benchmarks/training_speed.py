"""How many examples a training step does in a second: ``python benchmarks/training_speed.py --data GLUE``.

The demo encoder, fine-tuned as it is; and without the attention of three layers, distilled from the dense model, with
the teacher running and with its answers kept on disk, and with what is unchanged left as it is. Batches of 32 of
SST-2's training rows, one thread. Each round takes the same few steps of every variant in turn; reported are the best
round and the median. To compare two versions, let their checkouts take turns with ``--rounds 2``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from trimformer import trim
from trimformer.encoder.checkpoints.load import build, load_tokenizer, read_checkpoint
from trimformer.files import atomic_file
from trimformer.hardware import hardware, has_native_bf16
from trimformer.methods import METHODS, Context
from trimformer.methods.base import DISTILLED
from trimformer.tasks.encode import encode
from trimformer.tasks.encoding.batches import bucketed_batches
from trimformer.tasks.settings import TaskSettings
from trimformer.tasks.task import load_task
from trimformer.training.memory import freed_memory_kept
from trimformer.training.settings import ObjectiveSettings, TrainingSettings

RESULT = Path(__file__).parent / "results" / "training_speed.json"
CACHED = DISTILLED.model_copy(update={"cache": True})
FROZEN = {"freeze_unchanged": True}
# variant: (layers without attention, objective, settings of the method)
VARIANTS: dict[str, tuple[tuple[int, ...], ObjectiveSettings, dict[str, bool]]] = {
    "dense, fine-tuned": ((), ObjectiveSettings(), {}),
    "last 3 without attention, running teacher": ((3, 4, 5), DISTILLED, {}),
    "last 3 without attention, kept answers": ((3, 4, 5), CACHED, {}),
    "last 3 without attention, kept answers, the unchanged frozen": ((3, 4, 5), CACHED, FROZEN),
    "first 3 without attention, kept answers, the unchanged frozen": ((0, 1, 2), CACHED, FROZEN),
}
TRAINING = TrainingSettings(learning_rate=1e-4)


def learners(data: Any, folder: Path, names: list[str]) -> dict[str, Any]:
    """A method that trains for each variant."""
    accelerator = Accelerator(mixed_precision="bf16" if has_native_bf16() else "no")
    checkpoint, tokenizer = read_checkpoint("demo"), load_tokenizer("demo")
    train, selection = (encode(data.task, part, tokenizer, 128) for part in (data.train, data.selection))
    found = {}
    for name in names:
        removed, objective, settings = VARIANTS[name]
        torch.manual_seed(0)
        dense: Any = build(checkpoint, labels=data.task.labels)
        context = Context(
            model=trim(dense, attention=dict.fromkeys(removed, "mean")),
            teacher=dense,
            task=data.task,
            train=train,
            selection=selection,
            training=TRAINING,
            objective=objective,
            accelerator=accelerator,
            seed=0,
            steps=100_000,
            folder=folder,
            tokenizer=tokenizer,
        )
        found[name] = METHODS["finetune"](METHODS["finetune"].Settings(**settings), context)
    return found


def measure(data: Any, rounds: int, steps: int, names: list[str]) -> dict[str, list[float]]:
    """Examples per second of each variant in each round."""
    speeds: dict[str, list[float]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder, freed_memory_kept():  # as in a training
        methods = learners(data, Path(folder), names)
        train = next(iter(methods.values())).context.train
        # The same batches in every round, so that the best round is not the one with the shortest texts.
        batches = [b for b in bucketed_batches(train.lengths, TRAINING.batch_size, 0, 0) if len(b) == 32][:steps]
        examples = sum(map(len, batches))
        for number in range(rounds + 1):
            for name, method in methods.items():
                start = time.perf_counter()
                for batch in batches[: None if number else 3]:  # the first round warms up
                    method.micro_step(train.batch(batch), 1.0)
                    method.update(1)
                if number:
                    speeds[name].append(examples / (time.perf_counter() - start))
    return speeds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="folder with SST-2/")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=10, help="in a round")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS))
    parser.add_argument("--json", type=Path, default=RESULT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = load_task(TaskSettings(name="sst2", data=options.data, train_limit=2000))
    speeds = measure(data, options.rounds, options.steps, options.variants)
    found = {
        "command": f"python benchmarks/training_speed.py --data GLUE --rounds {options.rounds}",
        "hardware": hardware(),
        "threads": 1,
        "batch": TRAINING.batch_size,
        "examples_per_s": {
            name: {"best": max(values), "median": statistics.median(values)} for name, values in speeds.items()
        },
    }
    print(json.dumps(found["examples_per_s"], indent=1))
    with atomic_file(options.json) as file:
        file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
