"""Archives of torch.export (.pt2) in PyTorch.

Reading such an archive can run code that is in it (torch.export.load falls back to pickle, and evaluates expressions),
so only archives that this process wrote itself are opened here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from ...errors import TrimformerError
from ...threads import torch_threads
from .session import arrays, require_file

OUTPUT = "output"  # the file in the archive that names what comes out
_written: set[str] = set()  # SHA-256 of the archives that this process wrote


def trust(path: Path) -> None:
    """Say that this process wrote an archive, as it is now."""
    _written.add(_digest(path))


class TorchExportSession:
    """A .pt2 archive in PyTorch on the CPU; ``threads`` inside one operator, None = as PyTorch is set.

    Raises TrimformerError for a file that is missing, or that another process wrote.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        require_file(path)
        if _digest(path) not in _written:
            raise TrimformerError(
                f"{path} was not written by this process, and reading a .pt2 archive can run code that is in it: if "
                "you trust it, open it with torch.export.load; to predict here use the folder of the model."
            )
        about: dict[str, Any] = {OUTPUT: ""}
        self._program: Any = torch.export.load(path, extra_files=about).module()
        self._threads = threads
        self.output: str = about[OUTPUT]

    def run(self, inputs: Mapping[str, ArrayLike]) -> np.ndarray:
        """The output, as stored. inputs: int64 (batch, n); ``token_type_ids`` may be left out (then all 0)."""
        given = [torch.from_numpy(array) for array in arrays(inputs).values()]
        with torch_threads(self._threads), torch.inference_mode():
            output: np.ndarray = self._program(*given).numpy()
        return output


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
