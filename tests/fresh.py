"""Fresh processes: they share nothing with the test but files, and need no seconds to load the libraries.

A server is forked once, before any test has done anything in it; each process is a fork of that server.
What a process prints goes where the test that came first in this run would print: a test reads files that it wrote.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any

import torch

from tests.command import trimformer

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["tests.preloaded"])


def start(function: Callable[..., object], *arguments: Any) -> BaseProcess:
    """The function under way in a fresh process, in the folder that is the current one here."""
    process = _SERVER.Process(target=_in_folder, args=(os.getcwd(), torch.get_num_threads(), function, arguments))
    process.start()
    return process


def finished(function: Callable[..., object], *arguments: Any) -> None:
    """The function, done in a fresh process. AssertionError where it fails."""
    process = start(function, *arguments)
    process.join()
    assert process.exitcode == 0


def command(*arguments: Any) -> None:
    """What the command `trimformer` does with these arguments, which must succeed."""
    result = trimformer(*arguments)
    assert result.code == 0, result.err


def _in_folder(folder: str, threads: int, function: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    os.chdir(folder)
    torch.set_num_threads(threads)
    function(*arguments)
