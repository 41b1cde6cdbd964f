"""The component of each operator that a runtime executes, by the names that the exported graph had before.

Runtimes fuse, split and rename. An operator that stands for several of the graph belongs to the component that these
have in common. One that the runtime has added, such as what makes int8 of the input of a map, belongs to what reads it.
"""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...encoder.model.exported import ExportedEncoder
from ...encoder.parts.components import Component, components_of

SCOPES = "pkg.torch.onnx.name_scopes"
"""Where the exporter notes from which modules a node comes, outermost first, and the operation at last."""
ENDS = re.compile(r"[./][^./]*$")


@dataclasses.dataclass(frozen=True)
class Operator:
    """What a runtime executes. names: of what it stands for and of its weights. readers: operators that read it."""

    names: Sequence[str]
    readers: Sequence[str] = ()


class Known:
    """The component of each node, value and weight of an exported graph by its name, None for what belongs to none."""

    def __init__(self, encoder: ExportedEncoder, file: Path) -> None:
        import onnx

        modules = components_of(encoder)
        self.names = {name: component for name, component in modules.items() if name}
        for node in onnx.load(str(file), load_external_data=False).graph.node:
            module = _module(node)
            if module in modules:
                self.names |= dict.fromkeys((node.name, *node.output), modules[module])

    def of(self, name: str) -> str | None:
        """The name in the graph that a name in a runtime goes back to: ``linear_3`` for ``linear_3.input.int8``."""
        while name not in self.names and ENDS.search(name):
            name = ENDS.sub("", name)
        return name if name in self.names else None


def _module(node: Any) -> str | None:
    """The name of the module that a node comes from; the older exporter of torch has it in the node's own name."""
    scopes = next((entry.value for entry in node.metadata_props if entry.key == SCOPES), None)
    if scopes is not None:
        return str(ast.literal_eval(scopes)[-2])
    return ".".join(node.name.split("/")[1:-1]) if node.name.startswith("/") else None


def components(operators: Mapping[str, Operator], known: Known) -> tuple[dict[str, Component | None], set[str]]:
    """The component of each operator, None where it is not known or there is none; and those fused over several."""
    found: dict[str, Component | None] = {}
    fused: set[str] = set()

    def of(name: str) -> Component | None:
        if name not in found:
            found[name] = None  # in a circle, which there is none
            found[name] = decide(name)
        return found[name]

    def decide(name: str) -> Component | None:
        origins = [origin for one in operators[name].names if (origin := known.of(one)) is not None]
        own = _different(known.names[origin] for origin in origins)
        if len(own) > 1:
            fused.add(name)
        elif own or origins:
            return next(iter(own), None)
        else:
            readers = {of(reader) for reader in operators[name].readers if reader in operators}
            if len(readers) == 1:
                return readers.pop()
        return None

    for name in reversed(list(operators)):  # readers first, so that chains do not go deep
        of(name)
    return found, fused


def _different(found: Iterable[Component | None]) -> set[Component]:
    return {component for component in found if component is not None}
