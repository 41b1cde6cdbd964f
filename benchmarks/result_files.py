"""Files of results that grow entry by entry, so that a cut run loses none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from trimformer.files import atomic_file


def read(path: Path) -> dict[str, Any]:
    """The entries of the JSON file; none where there is no file yet."""
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}


def add(path: Path, key: str, content: dict[str, Any]) -> None:
    """Put an entry into the JSON file, in place of one of the same name."""
    with atomic_file(path) as file:
        file.write_text(json.dumps(read(path) | {key: content}, indent=1) + "\n", encoding="utf-8")
