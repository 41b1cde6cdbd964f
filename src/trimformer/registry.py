"""What can be added by one file: classes by name, found in a package of ours and in packages that others install."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import entry_points
from typing import TypeVar

from .errors import TrimformerError

T = TypeVar("T")


class Registry(Mapping[str, T]):
    """Classes (or other things) by name. What is registered comes from importing modules, at the first look-up.

    package: the dotted name of the package (or module) that registers the built-in ones; all in it is imported.
    group: the group of entry points under which an installed package names a module of its own that does the same.
    """

    def __init__(self, what: str, package: str, group: str) -> None:
        self.what, self.package, self.group = what, package, group
        self._entries: dict[str, T] = {}
        self._former: dict[str, str] = {}
        self._loaded = False

    def add(self, name: str, *former: str) -> Callable[[T], T]:
        """Decorator: make something known under a name; under a former one it is found, too, but not listed.

        Raises TrimformerError where the name is taken.
        """

        def known(entry: T) -> T:
            if self._entries.setdefault(name, entry) is not entry:
                raise TrimformerError(f"Two {self.what}s are called {name!r}: rename the one that is not built in.")
            self._former |= dict.fromkeys(former, name)
            return entry

        return known

    def find(self, name: str) -> T:
        """The entry of this name; raises TrimformerError that names the nearest one."""
        if name in self:
            return self[name]
        raise TrimformerError(self.unknown(name))

    def unknown(self, name: str) -> str:
        """What to say about a name that is not there."""
        near = difflib.get_close_matches(str(name), self, 1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(self)}."
        return f"Unknown {self.what} {name!r}: {hint}"

    def _load(self) -> dict[str, T]:
        if not self._loaded:
            self._loaded = True  # first: the modules may look here while they are imported
            package = importlib.import_module(self.package)
            for module in pkgutil.walk_packages(getattr(package, "__path__", ()), f"{self.package}."):
                importlib.import_module(module.name)
            for entry in entry_points(group=self.group):
                self._from_others(entry.value)
        return self._entries

    def _from_others(self, module: str) -> None:
        try:
            importlib.import_module(module)
        except Exception as error:  # what others install may raise anything
            self._loaded = False  # the next look-up fails as well
            raise TrimformerError(
                f"The installed package {module} announces a {self.what} and cannot be imported "
                f"({type(error).__name__}: {error}): update it or uninstall it."
            ) from error

    def __getitem__(self, name: str) -> T:
        entries = self._load()
        return entries[self._former.get(name, name)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._load())

    def __len__(self) -> int:
        return len(self._load())
