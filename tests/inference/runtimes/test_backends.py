"""Back-ends of exported files: opened under their name, all with the answers of PyTorch."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

import trimformer
from tests.wordmodels import tiny_body, tiny_classifier
from trimformer.deploy.onnx import random_inputs
from trimformer.deploy.writers import write
from trimformer.errors import TrimformerError
from trimformer.inference.runtimes.backends import FILE_BACKENDS, open_backend

ALLOWED = {"fp32": 1e-4, "bf16": 0.1, "int8": 1.0, "int4": 3.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("files")
    for backend in FILE_BACKENDS:
        write(tiny_classifier(num_labels=3), backend, found)
    return found


@pytest.mark.parametrize("backend", FILE_BACKENDS)
def test_answers_of_pytorch_whatever_batch_and_length(folder: Path, backend: str) -> None:
    model = tiny_classifier(num_labels=3)
    session = open_backend(folder / FILE_BACKENDS[backend].file, backend, threads=1)
    assert session.output == "logits"
    for batch, length in [(1, 5), (3, 40), (2, 7)]:
        inputs = random_inputs(model.config, batch, length, padded=True, seed=length)
        with torch.inference_mode():
            expected = model(**inputs).logits.numpy()
        error = np.abs(session.run(inputs) - expected).max()
        assert error <= ALLOWED[FILE_BACKENDS[backend].precision]


@pytest.mark.parametrize("backend", FILE_BACKENDS)
def test_threads_do_not_mix_their_answers(folder: Path, backend: str) -> None:
    session = open_backend(folder / FILE_BACKENDS[backend].file, backend, threads=1)
    batches = [random_inputs(tiny_classifier().config, 2, 3 + i % 5, seed=i) for i in range(40)]
    expected = [session.run(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        for got, one in zip(pool.map(session.run, batches), expected, strict=True):
            np.testing.assert_allclose(got, one, atol=1e-6)


def test_segments_may_be_left_out(folder: Path) -> None:
    inputs = random_inputs(tiny_classifier().config, 2, 6)
    inputs["token_type_ids"].zero_()
    for backend, found in FILE_BACKENDS.items():
        session = open_backend(folder / found.file, backend)
        whole = session.run(inputs)
        short = session.run({name: value for name, value in inputs.items() if name != "token_type_ids"})
        np.testing.assert_array_equal(whole, short)


def test_bare_body_gives_hidden_states(tmp_path: Path) -> None:
    body = tiny_body()
    session = open_backend(write(body, "openvino", tmp_path), "openvino")
    assert session.output == "last_hidden_state"
    assert session.run(random_inputs(body.config, 2, 5)).shape == (2, 5, 32)


def test_unknown_missing_and_damaged(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TrimformerError, match="Unknown file back-end 'tflite': use one of onnx, "):
        open_backend(folder / "model.onnx", "tflite")
    with pytest.raises(TrimformerError, match="export the model first"):
        open_backend(tmp_path / "model.xml", "openvino")
    (tmp_path / "model.xml").write_bytes((folder / "model.xml").read_bytes()[:500])
    with pytest.raises(TrimformerError, match="not a readable OpenVINO model"):
        open_backend(tmp_path / "model.xml", "openvino")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(TrimformerError, match=r"pip install \"trimformer\[openvino\]\""):
        open_backend(folder / "model.xml", "openvino")


def test_archives_of_others_are_not_opened(folder: Path, tmp_path: Path) -> None:
    archive = tmp_path / "model.pt2"
    archive.write_bytes((folder / "model.pt2").read_bytes())
    assert open_backend(archive, "torch-export").output == "logits"
    archive.write_bytes(archive.read_bytes() + b"\0")
    with pytest.raises(TrimformerError, match="can run code that is in it"):
        open_backend(archive, "torch-export")


WITHOUT_TORCH = """
import sys, types
from pathlib import Path
import numpy as np
package = types.ModuleType("trimformer")  # without what importing the package itself loads
package.__path__ = [sys.argv[1]]
sys.modules |= {"trimformer": package, "torch": None, "transformers": None}
from trimformer.inference.runtimes.backends import FILE_BACKENDS, open_backend
row = {name: np.ones((1, 4), np.int64) for name in ("input_ids", "attention_mask")}
for name in ("onnx", "openvino"):
    print(open_backend(Path(sys.argv[2]) / FILE_BACKENDS[name].file, name).run(row).shape)
"""


def test_files_are_opened_without_pytorch(folder: Path) -> None:
    package = str(Path(trimformer.__file__).parent)
    found = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, package, str(folder)], capture_output=True, text=True, check=True
    )
    assert found.stdout.splitlines()[-2:] == ["(1, 3)", "(1, 3)"]


INTERRUPTED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from trimformer.inference.runtimes.backends import open_backend
from trimformer.deploy.quantize_openvino import openvino_int8
folder = Path(sys.argv[1])
row = {name: np.ones((1, 4), np.int64) for name in ("input_ids", "attention_mask", "token_type_ids")}
first = open_backend(folder / "model.xml", "openvino")
openvino_int8(folder / "model.onnx", folder / "again.xml", [row])
second = open_backend(folder / "again.xml", "openvino-int8")
del first, second
noted = []
signal.signal(signal.SIGINT, lambda *_: noted.append("interrupted"))
os.kill(os.getpid(), signal.SIGINT)
print(*noted)
"""


@pytest.mark.slow
def test_ctrl_c_after_openvino_models_came_and_went(folder: Path) -> None:
    found = subprocess.run([sys.executable, "-c", INTERRUPTED, str(folder)], capture_output=True, text=True)
    assert (found.returncode, found.stdout.splitlines()[-1:]) == (0, ["interrupted"])
