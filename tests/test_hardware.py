"""What the machine is, read from files of known content."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from trimformer import cores
from trimformer import hardware as module
from trimformer.hardware import hardware, has_native_bf16

CPUINFO = """processor\t: 0
model name\t: Example CPU @ 2.0GHz
flags\t\t: fpu avx2 avx512f {flags}

processor\t: 1
model name\t: Example CPU @ 2.0GHz
flags\t\t: fpu
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(module, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    return tmp_path


def test_this_machine() -> None:
    found = hardware()
    assert {"cpu", "cores", "torch threads", "os", "python", "torch", "transformers"} <= set(found)
    assert all(isinstance(value, str) and value for value in found.values())
    assert found["torch threads"] == str(torch.get_num_threads())


def test_known_machine(machine: Path) -> None:
    (machine / "cpuinfo").write_text(CPUINFO.format(flags="avx512_vnni amx_bf16"), encoding="utf-8")
    (machine / "meminfo").write_text("MemTotal:       16777216 kB\nMemFree: 1 kB\n", encoding="utf-8")
    found = hardware()
    assert found["cpu"] == "Example CPU @ 2.0GHz"
    assert found["memory"] == "16.0 GiB"
    assert found["isa"] == "avx2 avx512f avx512_vnni amx_bf16"


@pytest.mark.parametrize(
    ("flags", "expected"), [("", False), ("avx512_vnni", False), ("avx512_bf16", True), ("amx_bf16", True)]
)
def test_native_bf16(machine: Path, flags: str, expected: bool) -> None:
    (machine / "cpuinfo").write_text(CPUINFO.format(flags=flags), encoding="utf-8")
    assert has_native_bf16() is expected


def test_unknown_machine_is_answered_with_care(machine: Path) -> None:
    assert has_native_bf16() is False
    found = hardware()
    assert "isa" not in found
    assert "memory" not in found
    assert found["cpu"]


@pytest.mark.parametrize(("flags", "expected"), [("", True), ("avx512_vnni", False), ("avx_vnni", False)])
def test_int8_saturates_without_vnni(machine: Path, flags: str, expected: bool) -> None:
    (machine / "cpuinfo").write_text(CPUINFO.format(flags=flags), encoding="utf-8")
    assert module.int8_saturates() is expected


def test_int8_saturates_nowhere_else(machine: Path) -> None:
    assert module.int8_saturates() is False  # no x86 that is known


@pytest.mark.parametrize(
    ("group", "own", "above", "expected"),
    [
        ("/", "100000 100000", None, 1),
        ("/pod/box", "250000 100000", "max 100000", 2),
        ("/pod/box", "max 100000", "300000 100000", 3),
        ("/pod/box", "50000 100000", None, 1),
        ("/pod/box", "max 100000", None, 4),
        ("/pod/box", "damaged", None, 4),
    ],
)
def test_usable_cores_are_those_of_the_affinity_and_of_the_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: str, own: str, above: str | None, expected: int
) -> None:
    monkeypatch.setattr(cores, "CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(cores, "CGROUPS", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(4))
    (tmp_path / "cgroup").write_text(f"0::{group}\n")
    folder = tmp_path / group.strip("/")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cpu.max").write_text(f"{own}\n")
    if above:
        (folder.parent / "cpu.max").write_text(f"{above}\n")
    assert cores.usable_cores() == expected
