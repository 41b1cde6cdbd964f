"""What `import trimformer` does: it costs nothing, and transformers knows the models whatever is imported first."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import trimformer
from tests.wordmodels import tiny_classifier, tiny_tokenizer

EXTRAS = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]["optional-dependencies"]
LOAD = "print(json.dumps(type(AutoModelForSequenceClassification.from_pretrained(sys.argv[1])).__name__))"


def fresh(code: str, *arguments: Any) -> Any:
    """What a fresh process prints last, as JSON."""
    command = [sys.executable, "-c", f"import json, sys\n{code}", *map(str, arguments)]
    return json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tiny_classifier().save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def test_the_import_loads_nothing_but_the_standard_library() -> None:
    loaded = fresh("import trimformer\nprint(json.dumps([name.partition('.')[0] for name in sys.modules]))")
    assert set(loaded) - sys.stdlib_module_names <= {"trimformer", *(name for name in loaded if name.startswith("_"))}


@pytest.mark.parametrize("first", ["trimformer", "transformers"])
def test_the_models_are_registered_in_both_orders(folder: Path, first: str) -> None:
    imports = ["import trimformer", "from transformers import AutoModelForSequenceClassification"]
    code = "\n".join(imports if first == "trimformer" else reversed(imports))
    assert fresh(f"{code}\n{LOAD}", folder) == "TrimformerForSequenceClassification"


def test_who_only_looks_for_transformers_changes_nothing(folder: Path) -> None:
    code = (
        "import importlib.util, trimformer\n"
        "importlib.util.find_spec('transformers'), importlib.util.find_spec('transformers')\n"
        "from transformers import AutoModelForSequenceClassification\n"
    )
    assert fresh(code + LOAD, folder) == "TrimformerForSequenceClassification"


def test_a_part_of_transformers_may_come_first(folder: Path) -> None:
    code = (
        "import trimformer\n"
        "import transformers.models.auto.configuration_auto as first\n"
        "from transformers.models.auto.modeling_auto import AutoModelForSequenceClassification\n"
    )
    assert fresh(code + LOAD, folder) == "TrimformerForSequenceClassification"


def test_sentence_transformers_finds_the_models(tmp_path: Path) -> None:
    body = trimformer.TrimformerModel(tiny_classifier().config)
    body.save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    code = (
        "import trimformer\n"
        "from sentence_transformers import SentenceTransformer\n"
        "model = SentenceTransformer(sys.argv[1])\n"
        "print(json.dumps(type(model[0].auto_model).__name__))"
    )
    assert fresh(code, tmp_path) == "TrimformerModel"


@pytest.mark.slow
def test_each_module_can_be_the_first(folder: Path) -> None:
    """No module meets itself half-imported where transformers' import registers the models."""
    firsts = ["quiet", "encoder.shape.config", "tasks.encode", "encoder.checkpoints.load", "methods.base", "api"]
    code = "import trimformer.{}\nprint(json.dumps('encoder' in dir(trimformer)))"
    assert [fresh(code.format(first)) for first in firsts] == [first != "quiet" for first in firsts]


def test_without_pytorch_a_name_says_what_it_needs() -> None:
    code = (
        "sys.modules['torch'] = None\n"
        "import trimformer\n"
        "try:\n"
        "    trimformer.compress\n"
        "except trimformer.TrimformerError as error:\n"
        "    print(json.dumps(str(error)))"
    )
    assert fresh(code) == 'trimformer.compress needs the package torch: pip install "trimformer[train]".'


def test_all_public_names_are_there() -> None:
    assert set(trimformer.__all__) <= set(dir(trimformer))
    with pytest.raises(AttributeError, match="no attribute 'compres'"):
        _ = trimformer.compres  # type: ignore[attr-defined]
