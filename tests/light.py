"""A fresh process in which only what the base installation brings can be imported."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from trimformer.extras import TRAIN

ALLOWED = {"pydantic", "yaml"}
"""What the command line and the tokenizers bring along."""
PREAMBLE = """
import json, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
"""


def light(code: str, *arguments: Any) -> Any:
    """What such a process prints last, as JSON; its arguments are in ``sys.argv``."""
    absent = sorted({*TRAIN, "onnx", "onnxscript", "nncf"} - ALLOWED)
    command = [sys.executable, "-c", f"ABSENT = {absent}\n{PREAMBLE}\n{code}", *map(str, arguments)]
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.splitlines()[-1])
