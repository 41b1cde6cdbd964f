"""How many cores this process may use; known without PyTorch, for what reads exported files."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

CGROUP = Path("/proc/self/cgroup")
CGROUPS = Path("/sys/fs/cgroup")


def usable_cores() -> int:
    """Logical cores that this process may use: by its affinity, and by the quota of its container in whole cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([cores, *_quotas()]))


def _quotas() -> list[int]:
    """Whole cores that the process's control group and those above it may use (cgroup v2, ``cpu.max``)."""
    try:
        lines = CGROUP.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    group = next((line[3:] for line in lines if line.startswith("0::")), "/")
    own = CGROUPS / group.strip("/")
    found = []
    for folder in (own, *own.parents):
        if not folder.is_relative_to(CGROUPS):
            break
        with contextlib.suppress(OSError, ValueError, ZeroDivisionError):  # "max 100000": no quota
            quota, period = map(int, (folder / "cpu.max").read_text(encoding="utf-8").split())
            found.append(quota // period)
    return found
