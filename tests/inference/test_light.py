"""Exported folders of every kind are read without PyTorch, transformers and what else the extra `train` brings."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any, get_args

import pytest

import trimformer
from tests.light import ALLOWED, light
from tests.wordmodels import WORDS, randomized, tiny_body, tiny_config, tiny_tokenizer
from trimformer.deploy.export import export
from trimformer.encoder.checkpoints.load import with_labels
from trimformer.encoder.model.heads import head_class
from trimformer.extras import TRAIN
from trimformer.inference.predictor import Predictor
from trimformer.saved.kinds import Kind
from trimformer.tasks.cuts import Cuts, save_cuts

KINDS: list[Kind] = [kind for kind in get_args(Kind) if kind != "masked-lm"]
NAMED = {"classification": ["no", "yes"], "multilabel": ["a", "b", "c"], "tokens": ["O", "B-X", "I-X"]}
LONG = " ".join(WORDS * 3)
ROWS: dict[str, list[Any]] = {
    "ranking": [["good film", LONG], ["bad", "dull"]],
    "tokens": [["the", "film"], LONG.split(), []],
    "spans": [["the film", LONG], ["very long", "it"]],
}
PREDICT = """
import dataclasses, trimformer
found = {}
for kind, (folder, rows) in json.load(open(sys.argv[1])).items():
    predictor = trimformer.Predictor(folder)
    rows = [tuple(row) if kind in ("ranking", "spans") else row for row in rows]
    found[kind] = [dataclasses.asdict(answer) for answer in predictor.stream(rows)]
    assert (predictor.kind, predictor.backend) == (kind, "onnx")
assert not set(ABSENT) & set(sys.modules)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """For each kind a folder with weights, tokenizer and ``model.onnx``; inputs are cut to 24 tokens, head and tail."""
    found = {}
    for kind in KINDS:
        folder = tmp_path_factory.mktemp(kind) / "model"
        model = randomized(head_class(kind), with_labels(tiny_config(), NAMED.get(kind, ()), kind))
        tokenizer = tiny_tokenizer()
        save_cuts(tokenizer, Cuts(24, "both", 8))
        model.save_pretrained(folder)
        export(model, folder, precision=["fp32"], tokenizer=tokenizer)
        found[kind] = folder
    return found


def test_every_kind_answers_as_with_pytorch(folders: dict[str, Path], tmp_path: Path) -> None:
    asked = {kind: (str(folder), ROWS.get(kind, ["good film", LONG])) for kind, folder in folders.items()}
    (tmp_path / "asked.json").write_text(json.dumps(asked), encoding="utf-8")
    found = light(PREDICT, tmp_path / "asked.json")
    assert set(found) == set(KINDS)
    for kind, (folder, rows) in asked.items():
        given = [tuple(row) if kind in ("ranking", "spans") else row for row in rows]
        expected = [dataclasses.asdict(answer) for answer in Predictor(folder, "torch").stream(given)]
        assert found[kind] == json.loads(json.dumps(expected), object_hook=_about)


def _about(values: dict[str, Any]) -> dict[str, Any]:
    return {name: pytest.approx(value, abs=1e-4) if _is_number(value) else value for name, value in values.items()}


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or (isinstance(value, list) and bool(value) and isinstance(value[0], float))


COMMAND = """
from trimformer_cli import main
import contextlib, io, os
sys.argv[0] = "trimformer"
errors, output = io.StringIO(), io.StringIO()
code = 0
try:
    import trimformer_cli.terminal
    trimformer_cli.terminal.console.file = errors
    with contextlib.redirect_stdout(output):
        main()
except SystemExit as stop:
    code = stop.code
print(json.dumps([code, output.getvalue(), " ".join(errors.getvalue().split())]))
"""


def test_the_command_predicts(folders: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("good film\nbad\n", encoding="utf-8")
    out = tmp_path / "vectors.npy"
    assert light(COMMAND, "predict", folders["embedding"], tmp_path / "texts.txt", "--out", out)[0] == 0
    assert out.stat().st_size > 2 * 32 * 4
    code, _, _ = light(
        COMMAND, "predict", folders["classification"], tmp_path / "texts.txt", "--workers", 2, "--out", tmp_path / "o"
    )
    assert code == 0
    answers = (tmp_path / "o").read_text().split()
    assert len(answers) == 2
    assert set(answers) <= {"no", "yes"}


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["compress", "demo", "--train", "t.csv", "--keep-layers", "2", "--out", "runs/x"], "This needs the package"),
        (["inspect", "shape:bert-base"], "This needs the package"),
        (
            ["predict", "BARE", "--backend", "torch"],
            "which answers where no exported file (model.onnx, model.xml) is found, needs the package",
        ),
        (["predict", "VECTORS", "--out", "v.parquet"], "This needs the package pyarrow"),
        (["predict", "STOCK"], "trimformer did not write the config.json"),
        (["predict", "NO-TOKENIZER"], "There is no tokenizer.json in"),
    ],
)
def test_what_is_missing_is_named_with_its_extra(
    words: list[str], what: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    for name in ("BARE", "STOCK", "NO-TOKENIZER", "VECTORS"):
        shutil.copytree(folders["embedding" if name == "VECTORS" else "classification"], tmp_path / name)
    (tmp_path / "BARE" / "model.onnx").unlink()
    (tmp_path / "STOCK" / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    (tmp_path / "NO-TOKENIZER" / "tokenizer.json").unlink()
    words = [str(tmp_path / word) if (tmp_path / word).is_dir() and word.isupper() else word for word in words]
    code, output, message = light(COMMAND, *words)
    assert (code, output) == (2, "")
    assert what in message
    assert message.endswith('pip install "trimformer[train]".')


def test_a_bare_encoder_has_no_answers(tmp_path: Path) -> None:
    export(tiny_body(), tmp_path, precision=["fp32"], tokenizer=tiny_tokenizer())
    with pytest.raises(trimformer.TrimformerError, match="has no task head"):
        Predictor(tmp_path)


def test_no_file_that_reads_models_needs_the_extra() -> None:
    root = Path(trimformer.__file__).parent
    files = [file for room in ("saved", "inference") for file in sorted((root / room).rglob("*.py"))]
    names = [".".join(file.relative_to(root.parent).with_suffix("").parts) for file in files]
    names = [name for name in names if not name.endswith(("runtimes.torch_model", "runtimes.torch_export"))]
    assert len(names) > 25
    assert light(f"import importlib\nfor name in {names}: importlib.import_module(name)\nprint(json.dumps('done'))")


def test_the_extra_is_what_it_is_said_to_be() -> None:
    import tomllib

    metadata = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    imported = {"scikit-learn": "sklearn", "PyYAML": "yaml"}
    train = {imported.get(name := one.partition(">")[0], name) for one in metadata["optional-dependencies"]["train"]}
    assert train == set(TRAIN)
    base = {one.partition(">")[0] for one in metadata["dependencies"]}
    assert base == {"numpy", "onnxruntime", "rich", "tokenizers", "typer"}
    assert set(TRAIN) >= ALLOWED
