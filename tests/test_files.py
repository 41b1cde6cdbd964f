"""Nothing half-written looks whole, and every refusal to write is one sentence."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import secrets
import signal
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from trimformer.errors import TrimformerError, explain_write_errors
from trimformer.files import atomic_file, atomic_folder, claim, is_stream, new_folder, require_new_folder, save_text


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


def die_in(folder: Path) -> None:
    with atomic_folder(folder) as temporary:
        (temporary / "half").touch()
        os.kill(os.getpid(), signal.SIGKILL)


def test_what_a_killed_process_left_is_no_obstacle(tmp_path: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=die_in, args=(tmp_path / "folder",))
    process.start()
    process.join()
    assert os.listdir(tmp_path / ".folder.tmp") == ["half"]
    with atomic_folder(tmp_path / "folder") as temporary:
        (temporary / "whole").touch()
    assert os.listdir(tmp_path / "folder") == ["whole"]
    assert os.listdir(tmp_path) == ["folder"]


def test_a_folder_of_the_user_may_have_the_temporary_name(tmp_path: Path) -> None:
    (tmp_path / ".folder.tmp").mkdir()
    (tmp_path / ".folder.tmp" / "photos").touch()
    with (
        pytest.raises(
            TrimformerError, match=r"\.folder\.tmp is in the way: rename it, because .*folder is first written there\."
        ),
        atomic_folder(tmp_path / "folder"),
    ):
        pass
    assert os.listdir(tmp_path / ".folder.tmp") == ["photos"]
    assert os.listdir(tmp_path) == [".folder.tmp"]


def test_a_file_of_the_user_may_have_the_temporary_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "token_hex", lambda size: "ab" * size)
    (tmp_path / ".file.abababab.tmp").write_text("of the user")
    with pytest.raises(TrimformerError, match="file exists"), atomic_file(tmp_path / "file"):
        pass
    assert (tmp_path / ".file.abababab.tmp").read_text() == "of the user"


def test_two_cannot_write_a_folder_at_once(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "folder") as first:
        (first / "first").touch()
        with pytest.raises(TrimformerError, match=rf"\(id {os.getpid()}\)"), atomic_folder(tmp_path / "folder"):
            pass
    assert os.listdir(tmp_path / "folder") == ["first"]


def test_what_comes_into_an_output_folder_meanwhile_stays(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    with pytest.raises(TrimformerError, match="exists and is not empty"), new_folder(target):
        (target / "theirs").mkdir(parents=True)
    assert os.listdir(target) == ["theirs"]
    assert os.listdir(tmp_path) == ["folder"]


@pytest.mark.parametrize("there", [True, False])
def test_of_a_link_the_file_is_written_that_it_leads_to(tmp_path: Path, there: bool) -> None:
    file, link = tmp_path / "elsewhere" / "file", tmp_path / "link"
    file.parent.mkdir()
    if there:
        file.write_text("old")
    link.symlink_to("elsewhere/file")
    with atomic_file(link) as temporary:
        assert temporary.parent == file.parent  # or it could not be renamed where the link leads to another disk
        temporary.write_text("new")
    assert link.is_symlink()
    assert file.read_text() == "new"
    assert os.listdir(file.parent) == ["file"]


def test_a_pipe_is_written_into_and_never_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    save_text(pipe, "of a pipe\n")
    (tmp_path / "link").symlink_to(pipe)
    save_text(tmp_path / "link", "through a link\n")
    assert os.read(reader, 99) == b"of a pipe\nthrough a link\n"
    os.close(reader)
    with pytest.raises(TrimformerError, match=r"pipe is not a regular file: name another one\."), atomic_file(pipe):
        pass
    assert pipe.is_fifo()
    assert sorted(os.listdir(tmp_path)) == ["link", "pipe"]


def test_a_device_stays_one(tmp_path: Path) -> None:
    device = tmp_path / "null"
    try:
        os.mknod(device, stat.S_IFCHR | 0o666, os.stat(os.devnull).st_rdev)
    except OSError:
        pytest.skip("only root makes devices")
    assert is_stream(Path(os.devnull))
    with claim(device, force=False):
        save_text(device, "gone")
    assert device.is_char_device()


def test_standard_output_is_gone_on_with(capfd: pytest.CaptureFixture[str]) -> None:
    """It leads to a file here, as after `> file`: one opened by this name would be written from its beginning."""
    os.write(1, b"before\n")
    with claim(Path("/dev/stdout"), force=False):
        save_text(Path("/dev/stdout"), "text\n")
    os.write(1, b"after\n")
    assert capfd.readouterr().out == "before\ntext\nafter\n"
    assert Path("/dev/stdout").is_symlink()


def test_what_is_there_is_replaced_only_by_force(tmp_path: Path) -> None:
    new, old = tmp_path / "new" / "file", tmp_path / "old"
    old.write_text("old")
    with claim(new, None, force=False):
        assert not new.exists()  # a claim writes no file of this name
    assert os.listdir(new.parent) == []
    (tmp_path / "link").symlink_to(old)
    for taken in (old, tmp_path / "link"):
        with (
            pytest.raises(TrimformerError, match=r"old exists: name another file, or replace it with --force\."),
            claim(new, taken, force=False),
        ):
            pass
        with claim(taken, force=True):
            pass
    assert old.read_text() == "old"


def test_inputs_are_not_replaced_even_by_force(tmp_path: Path) -> None:
    data = tmp_path / "data.csv"
    data.write_text("text\n")
    (tmp_path / "link").symlink_to(data)
    os.link(data, tmp_path / "hard")
    for name in ("data.csv", "link", "hard", "../" + tmp_path.name + "/data.csv"):
        with (
            pytest.raises(TrimformerError, match=r"is an input, and writing it would destroy that: name another file"),
            claim(tmp_path / name, force=True, inputs=[None, "glue/", str(data)]),
        ):
            pass
    with claim(Path(os.devnull), force=False, inputs=[os.devnull]):  # nothing is lost there
        pass


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", "model.int8.onnx"])
def test_files_of_a_model_are_not_replaced_even_by_force(tmp_path: Path, name: str) -> None:
    for file in ("config.json", name, "answers.json"):
        (tmp_path / file).write_text("{}")
    with (
        pytest.raises(TrimformerError, match=r"is one of the files of a model, which it would destroy: name another"),
        claim(tmp_path / name, force=True),
    ):
        pass
    with claim(tmp_path / "answers.json", tmp_path / "new.onnx", force=True):
        pass


def test_other_claims_that_are_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, Path("."), Path("/")):
        with pytest.raises(TrimformerError, match="is not a regular file: name another one"), claim(folder, force=True):
            pass
    file = tmp_path / "file"
    with pytest.raises(TrimformerError, match="two outputs"), claim(file, tmp_path / "." / "file", force=True):
        pass
    with claim(file, force=True), pytest.raises(TrimformerError, match=rf"\(id {os.getpid()}\)"):  # noqa: SIM117
        with claim(file, force=True):
            pass
    file.touch()
    with pytest.raises(TrimformerError, match="cannot be written"), claim(file / "below", force=True):
        pass
    assert os.listdir(tmp_path) == ["file"]


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
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TrimformerError, match="exists and is not empty"):
        require_new_folder(tmp_path)
    for taken in ("file", "pipe"):
        with pytest.raises(TrimformerError, match="exists and is no folder"):
            require_new_folder(tmp_path / taken)
    for place in ("empty", "nowhere"):
        (tmp_path / f"to {place}").symlink_to(tmp_path / place)
        with pytest.raises(TrimformerError, match="is a link: name the folder that it leads to"):
            require_new_folder(tmp_path / f"to {place}")
    monkeypatch.chdir(tmp_path / "empty")
    for nameless in (".", "..", "/"):
        with pytest.raises(TrimformerError, match="has no name of its own"):
            require_new_folder(Path(nameless))


def test_what_is_written_has_the_rights_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with new_folder(tmp_path / "model") as folder:
            (folder / "deep").mkdir()
            save_file({"a": torch.zeros(1)}, folder / "deep" / "weights.safetensors")
        with atomic_file(tmp_path / "weights.safetensors") as file:
            save_file({"a": torch.zeros(1)}, file)
    finally:
        os.umask(before)
    for file in (tmp_path / "model" / "deep" / "weights.safetensors", tmp_path / "weights.safetensors"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_the_root_of_a_disk_is_no_output_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "is_mount", lambda _: True)
    with pytest.raises(TrimformerError, match="is the root of a disk: name a new folder in it"):
        require_new_folder(tmp_path)
