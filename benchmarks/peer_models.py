"""The pruned models of the peers, brought into this package's encoder so that all run on the same back-ends."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from trimformer.encoder.checkpoints.families import family_of, to_huggingface
from trimformer.encoder.checkpoints.load import Checkpoint, build
from trimformer.encoder.model.heads import TrimformerForSequenceClassification
from trimformer.errors import TrimformerError
from trimformer.files import atomic_folder
from trimformer.measure.cost import cost

HERE = Path(__file__).parent / "peers"
PACKAGES = Path("runs") / "peers" / "packages"
# peer: (its script, which packages it sees before this environment's)
PRUNERS = {
    "Torch-Pruning": ("prune_torch_pruning.py", "torch"),
    "TextPruner": ("prune_textpruner.py", "textpruner"),
}
MULTIPLE = 8  # of feed-forward units, for fast kernels


def prepare() -> None:
    """Install the peers into folders of their own; this environment stays as it is.

    Without dependencies: they are here already, or listed. TextPruner's own list cannot be installed: it compares
    version numbers as strings, so that Python 3.11 gets numpy < 1.22, which does not exist for it.
    """
    for name in ("torch", "textpruner"):
        if not (PACKAGES / name).is_dir():
            PACKAGES.mkdir(parents=True, exist_ok=True)
            with atomic_folder(PACKAGES / name) as folder:
                install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
                subprocess.run([*install, "-r", str(HERE / f"requirements-{name}.txt")], check=True)


def versions() -> list[str]:
    """What was installed for the peers, as ``name==version``."""
    lines = [line for file in sorted(HERE.glob("requirements-*.txt")) for line in file.read_text("utf-8").splitlines()]
    return [line for line in lines if not line.startswith("#")]


def check_prepared() -> None:
    if missing := [name for _, name in PRUNERS.values() if not (PACKAGES / name).is_dir()]:
        raise TrimformerError(f"The packages for {missing[0]} are not in {PACKAGES}: run this with --prepare first.")


def prune(
    peer: str,
    dense: TrimformerForSequenceClassification,
    rows: dict[str, Tensor],
    flops: float,
    length: int,
) -> TrimformerForSequenceClassification:
    """A dense model pruned by a peer to at most these operations for a sequence of ``length`` tokens.

    rows: training rows for its importance scores, inputs and labels, int64 (rows, n) and (rows,).
    """
    heads, ffn = sizes(dense, flops, length)
    while True:
        pruned = _pruned(peer, dense, rows, heads, ffn)
        # Ranked over all layers a peer may take much from the last one, of which little is computed: ask for more then.
        if cost(pruned, length).flops <= 1.01 * flops:
            return pruned
        ffn -= MULTIPLE
        if ffn < MULTIPLE:
            raise TrimformerError(f"{peer} cannot get down to the {flops:.3g} operations that were asked for.")


def _pruned(
    peer: str, dense: TrimformerForSequenceClassification, rows: dict[str, Tensor], heads: int, ffn: int
) -> TrimformerForSequenceClassification:
    """By the peer's script, in a process of its own, to so many heads and units in the mean of the layers."""
    script, packages = PRUNERS[peer]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        to_huggingface(dense).save_pretrained(folder / "dense")
        save_file(rows, folder / "rows.safetensors")
        command = [sys.executable, str(HERE / script), "--model", str(folder / "dense"), "--heads", str(heads)]
        command += ["--rows", str(folder / "rows.safetensors"), "--ffn", str(ffn), "--out", str(folder / "pruned")]
        environment = os.environ | {"PYTHONPATH": str((PACKAGES / packages).resolve())}
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if ran.returncode:
            raise TrimformerError(f"{peer} failed: {ran.stderr.strip().splitlines()[-1]}")
        return from_stock_weights(dense, load_file(folder / "pruned"))


def sizes(dense: TrimformerForSequenceClassification, flops: float, length: int) -> tuple[int, int]:
    """Heads and feed-forward units per layer: about the same share of both, with at most these operations."""
    config = dense.config
    shape = config.shapes[0]

    def of(heads: int, ffn: int) -> float:
        changed = [dataclasses.replace(shape, heads=heads, ffn=ffn)] * config.num_hidden_layers
        return cost(config.with_shapes(changed), length, head=type(dense)).flops

    heads = round(shape.heads * flops / of(shape.heads, shape.ffn))
    ffn = 1 + int((flops - of(heads, 1)) / (of(heads, 2) - of(heads, 1)))
    return heads, ffn - ffn % MULTIPLE


def from_stock_weights(
    dense: TrimformerForSequenceClassification, weights: dict[str, Tensor]
) -> TrimformerForSequenceClassification:
    """This encoder with the weights of a pruned stock BERT, whose sizes they tell."""
    ours = family_of("bert").to_ours(weights, dense.config, type(dense))
    shapes = []
    for index, shape in enumerate(dense.config.shapes):
        layer = f"encoder.layers.{index}"
        heads = len(ours[f"{layer}.attention.query.weight"]) // shape.head_size
        shapes.append(dataclasses.replace(shape, heads=heads, ffn=len(ours[f"{layer}.ffn_in.weight"])))
    model = build(Checkpoint(dense.config.with_shapes(shapes), ours, type(dense), "the pruned weights"))
    assert isinstance(model, TrimformerForSequenceClassification)
    return model


def random_rows(vocabulary: int, count: int = 8, length: int = 32) -> dict[str, Tensor]:
    """Rows for a model with random weights, where it does not matter what is removed."""
    generator = torch.Generator().manual_seed(0)
    return {
        "input_ids": torch.randint(5, vocabulary, (count, length), generator=generator),
        "attention_mask": torch.ones(count, length, dtype=torch.long),
        "labels": torch.arange(count) % 2,
    }
