"""What the two pruning scripts share: arguments, rows, and the way the pruned weights go back.

The scripts run in processes of their own, for their packages do not all agree with this environment's, so nothing of
trimformer is imported here.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import BertForSequenceClassification

BATCH = 32


def arguments() -> argparse.Namespace:
    """model: a stock BERT with a head. rows: tokenised training rows with labels. heads, ffn: mean per layer."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--heads", type=int, required=True)
    parser.add_argument("--ffn", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


def read(model: Path) -> BertForSequenceClassification:
    return BertForSequenceClassification.from_pretrained(model, attn_implementation="eager").eval()


class Batches:
    """The rows in batches of 32, each cut at its longest row; can be gone through again and again."""

    def __init__(self, file: Path) -> None:
        self.rows = load_file(file)

    def __len__(self) -> int:
        return -(-len(self.rows["labels"]) // BATCH)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for start in range(0, len(self.rows["labels"]), BATCH):
            batch = {name: tensor[start : start + BATCH] for name, tensor in self.rows.items()}
            longest = int(batch["attention_mask"].sum(1).max())
            yield {name: tensor if name == "labels" else tensor[:, :longest] for name, tensor in batch.items()}


def write(model: nn.Module, file: Path) -> None:
    """The pruned weights under their stock names; their shapes say what is left of each layer."""
    save_file({name: weight.detach().clone().contiguous() for name, weight in model.state_dict().items()}, file)
