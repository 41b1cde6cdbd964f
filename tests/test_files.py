"""Nothing half-written looks whole, and every refusal to write is one sentence."""

from __future__ import annotations

import errno
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from trimformer.errors import TrimformerError
from trimformer.files import atomic_file, atomic_folder, explain_write_errors, require_new_folder


def test_a_file_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "new" / "file.txt"
    with atomic_file(target) as temporary:
        temporary.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"
    assert os.listdir(target.parent) == ["file.txt"]


def test_processes_that_write_the_same_file_have_their_own_temporary_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "file.txt"
    with atomic_file(target) as mine:
        mine.write_text("mine")
        monkeypatch.setattr(os, "getpid", lambda: -1)
        with atomic_file(target) as theirs:
            theirs.write_text("theirs")
    assert target.read_text() == "mine"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_a_broken_write_keeps_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    target.write_text("old")
    with pytest.raises(TypeError), atomic_file(target) as temporary:
        json.dump({"half": object()}, temporary.open("w"))
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_a_folder_appears_whole_and_replaces_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    for name in ("first", "second"):
        with atomic_folder(target) as temporary:
            (temporary / name).touch()
        assert os.listdir(target) == [name]
    assert os.listdir(tmp_path) == ["folder"]


def test_a_broken_folder_keeps_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    target.mkdir()
    with pytest.raises(TypeError), atomic_folder(target) as temporary:
        json.dump({"half": object()}, (temporary / "half").open("w"))
    assert os.listdir(tmp_path) == ["folder"]
    assert os.listdir(target) == []


def test_what_a_killed_process_left_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / ".folder.tmp").mkdir()
    (tmp_path / ".folder.tmp" / "half").touch()
    with atomic_folder(tmp_path / "folder") as temporary:
        (temporary / "whole").touch()
    assert os.listdir(tmp_path / "folder") == ["whole"]


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "The disk is full while writing weights: free some space and try again."),
        (errno.EDQUOT, "The disk is full while writing weights: free some space and try again."),
        (errno.EACCES, "weights cannot be written (permission denied): choose a place that you may write to."),
        (errno.EROFS, "weights cannot be written (read-only file system): choose a place that you may write to."),
        (errno.ENAMETOOLONG, "weights cannot be written (file name too long): choose a place that you may write to."),
    ],
)
def test_refusals_of_the_system(number: int, message: str) -> None:
    with pytest.raises(TrimformerError) as caught, explain_write_errors(Path("weights")):
        raise OSError(number, os.strerror(number))
    assert str(caught.value) == message


@pytest.fixture
def _small_files_only() -> Iterator[None]:
    """The system writes no more than 4 kB into a file, as on a full disk."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.usefixtures("_small_files_only")
@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(bytes(10_000)),
        lambda path: torch.save(torch.zeros(10_000), path),
        lambda path: save_file({"w": torch.zeros(10_000)}, path),
    ],
    ids=["python", "torch", "safetensors"],
)
def test_every_writer_that_runs_out_of_space(tmp_path: Path, write: Callable[[Path], None]) -> None:
    target = tmp_path / "weights"
    with (
        pytest.raises(TrimformerError, match=r"weights( cannot be written|: free some space)"),
        atomic_file(target) as t,
    ):
        write(t)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("error", [OSError("of a library"), RuntimeError("a mistake in the code")])
def test_other_errors_pass(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, explain_write_errors(Path("weights")):
        raise error
    assert caught.value is error


def test_a_path_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TrimformerError, match="cannot be written"), atomic_file(tmp_path / "file" / "x"):
        pass
    with pytest.raises(TrimformerError, match="cannot be written"), atomic_folder(tmp_path / "file" / "x"):
        pass


def test_the_output_folder_must_be_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_new_folder(tmp_path / "new")
    (tmp_path / "empty").mkdir()
    require_new_folder(tmp_path / "empty")
    (tmp_path / "file").touch()
    for taken in (tmp_path, tmp_path / "file"):
        with pytest.raises(TrimformerError, match="exists and is not empty"):
            require_new_folder(taken)
    monkeypatch.chdir(tmp_path / "empty")
    for nameless in (".", "..", "/"):
        with pytest.raises(TrimformerError, match="has no name of its own"):
            require_new_folder(Path(nameless))
