"""Makes the models known to transformers' Auto classes without loading transformers."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

LIBRARY = "transformers"


def register_with_transformers() -> None:
    """Register at once where transformers is loaded; else as soon as it is, in whatever order a program imports."""
    if LIBRARY in sys.modules:
        _register()
    else:
        sys.meta_path.insert(0, _Watch())


def _register() -> None:
    if find_spec("torch") is not None:  # without it transformers has no models
        import_module(f"{__package__}.encoder")


class _Watch(MetaPathFinder):
    """Finds nothing itself: it asks the other finders for transformers, and adds a last step to its loading."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != LIBRARY:
            return None
        others = (finder.find_spec(fullname, path, target) for finder in sys.meta_path if finder is not self)
        spec = next(filter(None, others), None)
        if spec is not None and spec.loader is not None:
            self._add_last_step(spec.loader)
        return spec

    def _add_last_step(self, loader: Any) -> None:
        """Who only looks whether transformers is there loads nothing, so that this one stays until somebody does."""
        execute = loader.exec_module

        def execute_and_register(module: ModuleType) -> None:
            execute(module)
            with contextlib.suppress(ValueError):  # another thread has taken it out
                sys.meta_path.remove(self)
            _register()

        loader.exec_module = execute_and_register
