"""What a process loads: help, the version and mistakes in the options wait for no heavy library."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import typer

from trimformer_cli import QUIET, app

SCRIPTS = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["scripts"]
HEAVY = ["torch", "transformers", "datasets", "sklearn", "scipy", "accelerate", "numpy"]
HELP = [[verb, "--help"] for verb in typer.main.get_command(app).commands]  # type: ignore[attr-defined]
LIGHT: list[tuple[list[str], int]] = [
    ([], 2),
    (["--help"], 0),
    (["--version"], 0),
    *((words, 0) for words in HELP),
    (["comprss"], 2),
    (["compress"], 2),
    (["compress", "demo", "--outt", "out"], 2),
    (["compress", "demo", "--out", "out", "--epochs", "many"], 2),
    (["compress", "demo", "--out", "out"], 2),  # no data
    (["compress", "demo", "--out", "out", "--task", "sst2", "--batch", "2"], 2),
    (["compress", "demo", "--out", "out", "--task", "sst2", "--max-drop", "1", "--keep", "2"], 2),
    (["bench", "demo", "--label", "stars"], 2),
    (["export", "demo", "--out", "out", "--to", "huggingface", "--precision", "fp32"], 2),
]
RUN = """
import contextlib, importlib.metadata, io, json, os, sys
main = importlib.metadata.EntryPoint("trimformer", sys.argv[1], "console_scripts").load()
heavy, commands, found = *map(json.loads, sys.argv[2:]), []
for words in commands:
    sys.argv[1:] = words
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            main()
        except SystemExit as stop:
            code = stop.code
    found.append([words, code or 0, [name for name in heavy if name in sys.modules]])
print(json.dumps([found, dict(os.environ)]))
"""


def fresh(code: str, *arguments: str) -> Any:
    """What a fresh process prints, as JSON."""
    environment = {name: value for name, value in os.environ.items() if name not in QUIET}
    command = [sys.executable, "-c", code, *arguments]
    return json.loads(subprocess.run(command, capture_output=True, check=True, env=environment).stdout)


def test_what_needs_no_model_loads_no_heavy_library() -> None:
    commands = [words for words, _ in LIGHT]
    found, environment = fresh(RUN, SCRIPTS["trimformer"], json.dumps(HEAVY), json.dumps(commands))
    assert found == [[words, code, []] for words, code in LIGHT]
    assert environment.items() >= QUIET.items()


def test_the_import_adds_nothing_to_what_transformers_loads_for_the_registered_classes() -> None:
    code = (
        "import json, sys, torch\n"
        "from transformers import AutoModel, PreTrainedConfig, PreTrainedModel\n"
        "from transformers import AutoModelForQuestionAnswering, AutoModelForSequenceClassification\n"
        "before = set(sys.modules)\n"
        "import trimformer\n"
        "print(json.dumps(sorted({name.split('.')[0] for name in set(sys.modules) - before})))"
    )
    assert fresh(code) == ["trimformer"]
