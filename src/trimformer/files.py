"""Writing so that nothing half-written ever looks whole, and nothing of the user's is lost."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from .errors import TrimformerError, explain_write_errors
from .lock import hold

OF_MODELS = (
    *(".safetensors", ".bin", ".pt", ".pt2", ".onnx", ".data", ".xml", ".model"),
    *("config.json", "model.safetensors.index.json", "tokenizer.json", "tokenizer_config.json"),
    *("special_tokens_map.json", "added_tokens.json", "vocab.txt", "vocab.json", "merges.txt", "modules.json"),
)
"""Endings and names of the files that a model's folder is made of."""


def cache_folder() -> Path:
    """Where things are kept that can be made again: $TRIMFORMER_CACHE or ~/.cache/trimformer."""
    return Path(os.environ.get("TRIMFORMER_CACHE") or Path.home() / ".cache" / "trimformer")


@contextlib.contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Give a temporary folder beside ``target``; it replaces ``target`` only when the block ends without an error.

    Raises TrimformerError where another process is writing ``target``, and where a folder of the user's has the name of
    the temporary one.
    """
    temporary = target.with_name(f".{target.name}.tmp")
    with hold(temporary.with_name(f"{temporary.name}.lock")) as left, explain_write_errors(target):
        if left:  # by a process that was killed: the folder is its own
            shutil.rmtree(temporary, ignore_errors=True)
        if os.path.lexists(temporary):
            raise TrimformerError(f"{temporary} is in the way: rename it, because {target} is first written there.")
        temporary.mkdir()
        try:
            yield temporary
            share(temporary)
            shutil.rmtree(target, ignore_errors=True)
            temporary.rename(target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def share(folder: Path) -> None:
    """Give the files in a new folder the rights of the folder, from the umask: writers of weights make them private."""
    mode = folder.stat().st_mode & 0o666
    for file in folder.rglob("*"):
        if file.is_file() and not file.is_symlink():
            file.chmod(mode | file.stat().st_mode & 0o111)


@contextlib.contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """As :func:`atomic_folder`, for an output folder that the user names: what is in it by the end stays there.

    Raises TrimformerError where a run is making that folder.
    """
    with hold(folder_lock(target)), atomic_folder(target) as temporary:
        yield temporary
        require_new_folder(target)


def folder_lock(target: Path) -> Path:
    """The lock of whoever makes an output folder that the user names."""
    return target.with_name(f"{target.name}.partial.lock")


def require_new_folder(folder: Path, remedy: str = "choose another one") -> None:
    """Raise TrimformerError where the output folder has something in it, is none or a mount, or has no name.

    remedy: what to do where something is in it.
    """
    if folder.name in ("", ".."):
        raise TrimformerError(f"The output folder {folder} has no name of its own: name a new folder.")
    if folder.is_symlink():
        raise TrimformerError(f"The output folder {folder} is a link: name the folder that it leads to.")
    if folder.is_mount():  # which nothing can be renamed to
        raise TrimformerError(f"The output folder {folder} is the root of a disk: name a new folder in it.")
    if folder.exists() and not folder.is_dir():
        raise TrimformerError(f"The output folder {folder} exists and is no folder: choose another one.")
    if folder.exists() and any(folder.iterdir()):
        raise TrimformerError(f"The output folder {folder} exists and is not empty: {remedy}.")


@contextlib.contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """Give a temporary file beside ``target``; it is renamed when the block ends without an error.

    A link stays, and the file that it leads to is written. Two processes that write the same file do not disturb
    each other: it is the later one's. Raises TrimformerError where something else than a file is there.
    """
    file = followed(target)
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(4)}.tmp")
    with explain_write_errors(target):
        require_regular(file)
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch(exist_ok=False)
        try:
            mode = temporary.stat().st_mode
            yield temporary
            temporary.chmod(mode)  # that of the umask: writers of weights take it from everyone but the owner
            temporary.replace(file)
        finally:
            temporary.unlink(missing_ok=True)


def followed(target: Path) -> Path:
    """The file that a link leads to, whether it is there or not; all else as it is."""
    return Path(os.path.realpath(target)) if target.is_symlink() else target


def require_regular(target: Path) -> None:
    """Raise TrimformerError where something is there that is not a regular file."""
    if target.exists() and not target.is_file():
        raise TrimformerError(f"{target} is not a regular file: name another one.")


def require_readable(file: Path) -> None:
    """Raise TrimformerError where this user may not read a file, which libraries call missing or damaged."""
    try:
        file.open("rb").close()
    except OSError as error:
        raise TrimformerError(
            f"{file} cannot be read ({error.strerror}): give this user the right to read it."
        ) from error


@contextlib.contextmanager
def claim(*targets: Path | None, force: bool, inputs: Sequence[str | Path | None] = ()) -> Iterator[None]:
    """Keep the files that the user wants written from other processes, and refuse before any work what would be lost.

    A pipe, a device or standard output is written into instead of replaced, and needs no claim.
    force: files that are there already may be replaced; inputs and the files of a model never are.
    Raises TrimformerError for what must not be replaced, for folders, for a file that is named twice, and for one that
    another process is writing.
    """
    files: list[Path] = []
    with contextlib.ExitStack() as stack:
        for target in filter(None, targets):
            if any(_same(target, given) for given in inputs if given is not None):
                raise TrimformerError(f"{target} is an input, and writing it would destroy that: name another file.")
            if is_stream(target):
                continue
            file = followed(target)
            if file.resolve() in files:
                raise TrimformerError(f"{target} is named for two outputs: name a file for each.")
            files.append(file.resolve())
            require_regular(file)
            stack.enter_context(hold(file.with_name(f".{file.name}.lock")))
            require_new_file(file, force)
        yield


def require_new_file(file: Path, force: bool) -> None:
    """Raise TrimformerError where the file exists, unless it may be replaced, as those of a model never may."""
    if file.exists() and _is_of_a_model(file):
        raise TrimformerError(f"{file} is one of the files of a model, which it would destroy: name another file.")
    if file.exists() and not force:
        raise TrimformerError(f"{file} exists: name another file, or replace it with --force.")


def _is_of_a_model(file: Path) -> bool:
    """Whether a file is configuration, weights, tokenizer or exported form of the model in its folder."""
    beside_config = (file.parent / "config.json").is_file()
    return beside_config and (file.suffix in OF_MODELS or file.name in OF_MODELS)


def save_text(target: Path, text: str) -> None:
    """Write a file that the user names: whole or not at all; a pipe or a device is written into."""
    if is_stream(target):
        with explain_write_errors(target), open_stream(target) as stream:
            stream.write(text.encode())
        return
    with atomic_file(target) as file:
        file.write_text(text, encoding="utf-8")


def is_stream(target: Path) -> bool:
    """Whether a path leads to what is written into and never replaced: a pipe, a device, standard output or error."""
    return _standard(target) is not None or (target.exists() and not target.is_file() and not target.is_dir())


def open_stream(target: Path) -> BinaryIO:
    """Open what :func:`is_stream` finds."""
    standard = _standard(target)
    return os.fdopen(os.open(target, os.O_WRONLY) if standard is None else os.dup(standard), "wb")


def _standard(target: Path) -> int | None:
    """The descriptor of standard output or error where a path leads there, as /dev/stdout does.

    It may lead to a file, which opened by its name would be written from its beginning.
    """
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), target.stat()):
                return descriptor
    return None


def _same(target: Path, given: str | Path) -> bool:
    """Whether both are the same regular file."""
    return os.path.isfile(given) and os.path.isfile(target) and os.path.samefile(given, target)
