"""The scores of the peers: pruned to the same operations and fine-tuned alike; and of all models in int8."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import tasks
import torch
from accelerate import Accelerator
from peer_models import PRUNERS, prune
from peer_torchao import quantized

from trimformer.console import progress_bar
from trimformer.deploy.writers import write
from trimformer.encoder.checkpoints.load import load_tokenizer, load_with_head, read_config
from trimformer.encoder.model.heads import TrimformerForSequenceClassification, TrimformerWithHead
from trimformer.files import atomic_folder
from trimformer.hardware import has_native_bf16
from trimformer.inference.runtimes.backends import open_backend
from trimformer.measure.cost import cost
from trimformer.measure.significance import paired_test
from trimformer.methods import METHODS, Context
from trimformer.pipeline.results import default_lengths
from trimformer.pipeline.run import run
from trimformer.pipeline.run_folder import partial_folder
from trimformer.recipe.settings import Recipe
from trimformer.tasks.cuts import cuts_of
from trimformer.tasks.data import Task
from trimformer.tasks.encode import encode
from trimformer.tasks.encoding.encoded import Encoded
from trimformer.tasks.outcome import Outcome, outcome
from trimformer.tasks.task import load_task, with_label_order
from trimformer.training.evaluate import predict_logits
from trimformer.training.loop import total_steps, train

ROWS = 256  # of the training split, for the importance scores
LIMITS = {"sst2": 8000}  # training rows, where they are not all used
OURS, DENSE = "trimformer", "dense"


@dataclasses.dataclass(frozen=True)
class Splits:
    task: Task
    train: Encoded
    selection: Encoded
    validation: Encoded


def recipe_of(task: str, seed: int, data: Path, work: Path) -> Recipe:
    """That of benchmarks/tasks.py: dense fine-tuning, a search that keeps 3 of 6 layers' attention, repair."""
    recipe = tasks.recipe(task, data, work, seed)
    recipe.task.train_limit = LIMITS.get(task, recipe.task.train_limit)
    return recipe


def trained(recipe: Recipe) -> Path:
    """Run the recipe where that was not done yet; the folder of its dense model."""
    out = Path(recipe.out)
    if not out.exists():
        run(recipe, resume=partial_folder(out).exists())
    return out / "dense" / "model"


def models_of(recipe: Recipe, dense_folder: Path) -> Iterator[tuple[str, TrimformerWithHead]]:
    """The dense model, ours, and the peers' pruned ones, each fine-tuned first where it is not there yet."""
    yield DENSE, load_with_head(dense_folder)
    yield OURS, load_with_head(Path(recipe.out) / "model")
    for peer in PRUNERS:
        yield peer, peer_model(peer, recipe, dense_folder)


def peer_model(peer: str, recipe: Recipe, dense_folder: Path) -> TrimformerWithHead:
    """A peer's pruned model after fine-tuning; kept beside the run, so that a cut one goes on."""
    folder = Path(f"{recipe.out}-{peer.lower()}")
    if not (folder / "model").is_dir():
        dense = load_with_head(dense_folder)
        splits = read_splits(recipe, dense_folder)
        if not (folder / "pruned").is_dir():
            pruned = _pruned(peer, recipe, dense, splits)
            folder.mkdir(parents=True, exist_ok=True)
            with atomic_folder(folder / "pruned") as temporary:
                pruned.save_pretrained(temporary)
        tuned = fine_tuned(load_with_head(folder / "pruned"), dense, splits, recipe, folder / "training", peer)
        with atomic_folder(folder / "model") as temporary:
            tuned.save_pretrained(temporary)
            load_tokenizer(dense_folder).save_pretrained(temporary)
    return load_with_head(folder / "model")


def _pruned(peer: str, recipe: Recipe, dense: TrimformerWithHead, splits: Splits) -> TrimformerWithHead:
    """At the operations of our model for a text of mean length."""
    assert isinstance(dense, TrimformerForSequenceClassification)
    length = default_lengths(splits.validation)[0]
    flops = cost(load_with_head(Path(recipe.out) / "model"), length).flops
    chosen = np.linspace(0, len(splits.train) - 1, ROWS).astype(int).tolist()
    return prune(peer, dense, splits.train.batch(chosen), flops, length)


def read_splits(recipe: Recipe, dense_folder: Path) -> Splits:
    """The data as the run of this recipe read them."""
    config = read_config(dense_folder)
    data = with_label_order(load_task(recipe.task, recipe.seed), config.label_names)
    tokenizer = load_tokenizer(dense_folder)
    cuts = cuts_of(recipe.task, tokenizer, config.max_tokens)._asdict()
    return Splits(
        data.task, *(encode(data.task, s, tokenizer, **cuts) for s in (data.train, data.selection, data.validation))
    )


def fine_tuned(
    start: TrimformerWithHead, dense: TrimformerWithHead, splits: Splits, recipe: Recipe, folder: Path, title: str
) -> TrimformerWithHead:
    """Trained as our repair is: distilled from the dense model, for as many epochs as search and repair together."""
    epochs = sum(stage.training.epochs for stage in recipe.stages)
    training = recipe.stages[-1].training.model_copy(update={"epochs": epochs})
    accelerator = Accelerator(mixed_precision="bf16" if has_native_bf16() else "no")
    torch.manual_seed(recipe.seed)
    method = METHODS["none"](
        recipe.stages[-1].method,
        Context(
            model=start,
            teacher=dense,
            task=splits.task,
            train=splits.train,
            selection=splits.selection,
            training=training,
            objective=recipe.stages[-1].objective,
            accelerator=accelerator,
            seed=recipe.seed,
            steps=total_steps(len(splits.train), training, 1),
        ),
    )
    folder.mkdir(parents=True, exist_ok=True)
    with progress_bar(True) as progress:
        train(method, splits.train, training, accelerator, folder, seed=recipe.seed, title=title, progress=progress)
    return method.model.eval()


def scores(
    name: str, model: TrimformerWithHead, reference: Outcome, splits: Splits, files: Path, backends: list[str]
) -> Iterator[dict[str, Any]]:
    """A model in PyTorch and on the back-ends, each with the paired bootstrap against the dense one in PyTorch."""
    length = default_lengths(splits.validation)[0]
    for backend, predictor in predictors(name, model, splits, files, backends):
        found = scored(predictor(), splits)
        yield {
            "name": name,
            "backend": backend,
            "scores": found.scores,
            "against_dense": dataclasses.asdict(paired_test(reference, found)),
            "flops": cost(model, length).flops,
            "flops_length": length,
            "params": cost(model, length).params,
            "shapes": [dataclasses.asdict(shape) for shape in model.config.shapes],
        }


def scored(model: Callable[..., Any], splits: Splits) -> Outcome:
    return outcome(splits.task, splits.validation, predict_logits(model, splits.validation))


def predictors(
    name: str, model: TrimformerWithHead, splits: Splits, files: Path, backends: list[str]
) -> Iterator[tuple[str, Callable[[], Any]]]:
    """(back-end, what makes a function from a batch to logits)."""
    yield "torch", lambda: model
    for backend in backends:

        def opened(backend: str = backend) -> Any:
            run_session = open_backend(write(model, backend, files / name, splits.train), backend).run
            return lambda gates, **batch: SimpleNamespace(logits=torch.from_numpy(run_session(batch)))

        yield backend, opened
    if name == DENSE:

        def in_torchao() -> Any:
            module = quantized(model)
            return lambda gates, **batch: module(**batch)

        yield "torchao-int8", in_torchao
