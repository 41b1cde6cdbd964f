"""What a variant needs from cold: time to the first answer, and the most memory, in a fresh process of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from ...inference.runtimes.backends import parts
from .variants import Variant, open_variant, reason

STATUS = Path("/proc/self/status")
TIME_LIMIT = 600
WEIGHTS = ".safetensors"


@dataclasses.dataclass(frozen=True)
class Footprint:
    """What a variant takes on disk and in a fresh process that runs nothing else.

    disk_bytes: weights and graph. start_s: from the start of the process to the first answer (batch 1), of which
    import_s for the libraries, load_s to open the model (from a warm disk), first_s for the answer itself, where
    compilers work. peak_bytes: most resident memory, with the libraries, until a batch (batch, length) is done.
    None where it did not run or the system does not tell; skipped says why.
    """

    name: str
    backend: str
    batch: int
    length: int
    disk_bytes: int | None = None
    start_s: float | None = None
    import_s: float | None = None
    load_s: float | None = None
    first_s: float | None = None
    peak_bytes: int | None = None
    skipped: str = ""


def footprint(variant: Variant, batch: int, length: int, threads: int) -> Footprint:
    """Measure one variant that lies on disk."""
    found = Footprint(variant.name, variant.backend, batch, length)
    if variant.path is None or variant.run is None:
        return dataclasses.replace(found, skipped=variant.skipped or "it is not a file")
    found = dataclasses.replace(found, disk_bytes=disk_bytes(variant.path))
    task = {
        "path": str(variant.path), "backend": variant.backend, "threads": threads, "batch": batch, "length": length,
        "vocabulary": 1000 if variant.config is None else variant.config.vocab_size, "started": time.time(),
    }  # fmt: skip
    try:
        done = subprocess.run(
            [sys.executable, "-m", __name__, json.dumps(task)],
            capture_output=True, text=True, check=True, timeout=TIME_LIMIT,
            env=os.environ | {"OMP_NUM_THREADS": str(threads)},
        )  # fmt: skip
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip().rpartition("\n")[2][:200]
        return dataclasses.replace(found, skipped=said or f"the process ended with code {error.returncode}")
    except (OSError, subprocess.TimeoutExpired) as error:
        return dataclasses.replace(found, skipped=reason(error))
    return dataclasses.replace(found, **json.loads(done.stdout.splitlines()[-1]))


def disk_bytes(path: Path) -> int:
    """Bytes of the weights in a model folder, or of an exported file with what belongs to it."""
    if path.is_dir():
        files = [file for file in path.iterdir() if file.suffix == WEIGHTS]
    else:
        files = [*parts(path), *path.parent.glob(f"{path.name}.data")]
    return sum(file.stat().st_size for file in files)


def _first_answers(task: dict[str, Any]) -> dict[str, float | int | None]:
    """What the fresh process does: the fields of its footprint."""
    imported = time.time()
    torch.set_num_threads(task["threads"])
    run, _ = open_variant(Path(task["path"]), task["backend"], task["threads"], {})
    loaded = time.time()
    ids = torch.arange(task["batch"] * task["length"]).reshape(task["batch"], task["length"]) % task["vocabulary"]
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}
    run({name: tensor[:1] for name, tensor in inputs.items()})
    first = time.time()
    run(inputs)
    return {
        "start_s": first - task["started"],
        "import_s": imported - task["started"],
        "load_s": loaded - imported,
        "first_s": first - loaded,
        "peak_bytes": _peak_bytes(),
    }


def _peak_bytes() -> int | None:
    """Linux only: what the resource module tells elsewhere starts with the memory of the parent process."""
    with contextlib.suppress(OSError):
        if found := re.search(r"^VmHWM:\s+(\d+) kB", STATUS.read_text(encoding="utf-8"), flags=re.MULTILINE):
            return int(found[1]) * 1024
    return None


if __name__ == "__main__":
    print(json.dumps(_first_answers(json.loads(sys.argv[1]))))
