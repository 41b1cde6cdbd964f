"""Files of results that grow entry by entry, so that a cut run loses none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from trimformer.files import atomic_file


def add(path: Path, key: str, content: dict[str, Any]) -> None:
    """Put an entry into the JSON file, in place of one of the same name."""
    known = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    with atomic_file(path) as file:
        file.write_text(json.dumps(known | {key: content}, indent=1) + "\n", encoding="utf-8")
