"""Whether `task.data` is a folder or a dataset on the hub, and a split of such a dataset as a table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...errors import TrimformerError
from ..labels import match_labels
from ..tables.files import Table


def local_folder(data: str | None) -> Path | None:
    """The folder, or None where `data` may be the id of a dataset on the hub; raises TrimformerError if neither."""
    if data is None:
        return None
    folder = Path(data).expanduser()
    if folder.is_dir():
        return folder
    if re.fullmatch(r"[\w.-]+(/[\w.-]+)?", data):
        return None
    raise TrimformerError(f"The folder {folder} of task.data does not exist: correct the path.")


def open_split(dataset: str, config: str | None, split: str, **more: str) -> Any:
    """The `datasets.Dataset`, loaded with `more` as it is; raises TrimformerError if it cannot be loaded."""
    import datasets

    try:
        return datasets.load_dataset(dataset, config, split=split, **more)
    except Exception as error:  # hub, network and cache raise all kinds: the user needs one sentence
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        what = split if config is None else f"{config} {split}"
        raise TrimformerError(
            f"The data {dataset} is not a folder here, and the {what} split of a hub "
            f"dataset of that name cannot be loaded ({reason}): "
            "set task.data to a folder with the task's files, or check the id and the network."
        ) from error


def load_split(dataset: str, config: str | None, split: str, labels: Sequence[str]) -> Table:
    """Its columns; the ids in the column 'label' become names, written as in `labels`.

    Raises TrimformerError if the split cannot be loaded and where the names differ.
    """
    loaded = open_split(dataset, config, split)
    columns = {column: list(loaded[column]) for column in loaded.column_names}
    names = getattr(loaded.features.get("label"), "names", None)
    if names is not None:
        order = match_labels(names, labels)
        # An id of -1 means that the label is withheld: left as it is, it is reported with its row.
        columns["label"] = [labels[order[i]] if i >= 0 else "-1" for i in columns["label"]]
    rows: list[Sequence[object]] = list(zip(*columns.values(), strict=True))
    place = split if config is None else f"{config}:{split}"
    return Table(Path(dataset) / place, list(columns), rows, list(range(1, len(rows) + 1)))
