"""What a search leaves: the folder of a model, and a file that runs without it."""

from __future__ import annotations

import shutil
from pathlib import Path

from ..deploy.export import save_tokenizer
from ..deploy.thresholds import keep_thresholds, thresholds_in
from ..encoder.checkpoints.load import load_tokenizer, load_with_head
from ..inference.runtimes.backends import parts


def copy_model(folder: Path, to: Path) -> None:
    """The folder of a model."""
    shutil.copytree(folder, to, dirs_exist_ok=True)


def copy_file(file: Path, to: Path, model: Path) -> None:
    """An exported file with the tokenizer and the configuration of its model."""
    to.mkdir(exist_ok=True)
    for part in parts(file):
        shutil.copy2(part, to)
    net = load_with_head(model)
    save_tokenizer(net, to, load_tokenizer(model))
    if net.config.exits is not None:
        keep_thresholds(to, thresholds_in(file.parent, net.config.exits))
