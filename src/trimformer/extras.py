"""What is installed beside the package: which extra brings a package that is missing."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator, Sequence

from .errors import TrimformerError

TRAIN = (
    *("torch", "transformers", "safetensors", "accelerate", "datasets", "pydantic", "yaml", "sklearn", "scipy"),
    *("seqeval", "pyarrow"),
)
"""What the extra ``train`` brings, by the names under which they are imported."""


def require(extra: str, packages: Sequence[str]) -> None:
    """Raise TrimformerError where a package of this extra is missing."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise _needs("This", missing[0], extra)


@contextlib.contextmanager
def explained(what: str = "This") -> Iterator[None]:
    """Turn the failure to import a package of the extra ``train`` into one sentence. what: the subject of it.

    Raises TrimformerError.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in TRAIN:
            raise
        raise _needs(what, package, "train") from error


def _needs(what: str, package: str, extra: str) -> TrimformerError:
    return TrimformerError(f'{what} needs the package {package}: pip install "trimformer[{extra}]".')
