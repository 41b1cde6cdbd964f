"""What writes the file of each back-end."""

from __future__ import annotations

from pathlib import Path

from tests.wordmodels import tiny_classifier
from trimformer.deploy.writers import FROM_MODEL, FROM_ONNX, INT8, write
from trimformer.inference.runtimes.backends import FILE_BACKENDS


def test_every_back_end_is_written_one_way() -> None:
    assert sorted([*FROM_MODEL, *FROM_ONNX, *INT8]) == sorted(FILE_BACKENDS)


def test_a_file_that_is_there_is_kept(tmp_path: Path) -> None:
    for backend, found in FILE_BACKENDS.items():
        (tmp_path / found.file).write_text("written before")
        assert write(tiny_classifier("mean"), backend, tmp_path) == tmp_path / found.file
    assert {path.read_text() for path in tmp_path.iterdir()} == {"written before"}
