"""The base installation in a fresh environment answers from a folder that was made elsewhere, and serves it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.wordmodels import tiny_classifier, tiny_tokenizer
from trimformer.deploy.export import export
from trimformer.inference.predictor import Predictor

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[1]
TEXTS = ["good film", "bad"]
MOST_MIB = 350


def said(command: list[Any], **others: Any) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    words = list(map(str, command))
    return subprocess.run(words, capture_output=True, text=True, env=environment, check=False, timeout=580, **others)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    export(tiny_classifier(), folder, precision=["fp32"], tokenizer=tiny_tokenizer())
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the package, in a place where building leaves nothing in the repository."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE", "constraints.txt"):
        shutil.copy(ROOT / name, source)
    for name in ("src", "docker"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    return source


@pytest.fixture(scope="module")
def programs(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of a fresh environment with the extra ``serve``."""
    place = tmp_path_factory.mktemp("environment") / "venv"
    subprocess.run([sys.executable, "-m", "venv", place], check=True)
    programs = place / ("Scripts" if sys.platform == "win32" else "bin")
    pip = [programs / "python", "-m", "pip", "--disable-pip-version-check"]
    made = said([*pip, "install", "--quiet", "-c", source / "constraints.txt", f"{source}[serve]"])
    if made.returncode:
        pytest.skip(f"pip cannot install from an index here: {made.stderr.strip().splitlines()[-1]}")
    return programs


def test_a_fresh_environment_answers(programs: Path, folder: Path) -> None:
    listed = said([programs / "python", "-m", "pip", "list", "--format=json"])
    names = {one["name"].lower() for one in json.loads(listed.stdout)}
    assert not names & {"torch", "transformers", "datasets", "scipy", "scikit-learn", "accelerate"}
    size = sum(file.stat().st_size for file in programs.parent.rglob("*") if file.is_file() and not file.is_symlink())
    assert size / 2**20 <= MOST_MIB
    found = said([programs / "trimformer", "predict", folder, "--json"], input="\n".join(TEXTS) + "\n")
    assert found.returncode == 0, found.stderr
    for line, expected in zip(found.stdout.splitlines(), Predictor(folder).predict(TEXTS), strict=True):
        assert json.loads(line)["scores"] == pytest.approx(vars(expected)["scores"], abs=1e-5)
    refused = said(
        [programs / "trimformer", "compress", "demo", "--task", "sentiment", "--keep-layers", "2", "--out", "x"]
    )
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.strip().endswith('pip install "trimformer[train]".')


@pytest.fixture(params=["environment", "container"])
def address(
    request: pytest.FixtureRequest, folder: Path, source: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Where the service answers that was started in the fresh environment, or in a container."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    if request.param == "environment":
        programs = request.getfixturevalue("programs")
        command = [programs / "trimformer", "serve", folder, "--port", port]
    else:
        engine = next(filter(None, map(shutil.which, ("podman", "docker"))), None)
        if engine is None or said([engine, "info"]).returncode:
            pytest.skip("There is no container engine that runs here (podman, docker).")
        built = said([engine, "build", "-f", source / "docker" / "Containerfile", "-t", "trimformer-test", source])
        if built.returncode:
            pytest.skip(f"The image cannot be built here: {built.stderr.strip().splitlines()[-1]}")
        command = [
            engine,
            "run",
            "--rm",
            "-p",
            f"127.0.0.1:{port}:8000",
            "-v",
            f"{folder}:/model:ro",
            "trimformer-test",
        ]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    log = tmp_path_factory.mktemp("log") / "service.txt"
    with log.open("w") as stream:
        process = subprocess.Popen([*map(str, command)], stdout=stream, stderr=stream, env=environment)
    try:
        _wait(f"http://127.0.0.1:{port}/health", process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        assert process.poll() is None, log.read_text()
        try:
            urllib.request.urlopen(url, timeout=10).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(log.read_text())


def test_the_service_answers(address: str, folder: Path) -> None:
    body = json.dumps({"texts": TEXTS}).encode()
    request = urllib.request.Request(f"{address}/predict", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        answers = json.load(response)["answers"]
    for answer, expected in zip(answers, Predictor(folder).predict(TEXTS), strict=True):
        assert answer["scores"] == pytest.approx(vars(expected)["scores"], abs=1e-5)
