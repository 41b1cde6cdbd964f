"""From nothing to the first answer: ``python benchmarks/startup.py --model FOLDER --python NAME=PYTHON ...``.

Each environment, such as ``base=base/bin/python`` with ``pip install trimformer`` in it, answers one text through
``predict`` with the exported int8 file in FOLDER, in a new process each time, taking turns. Seconds are from the start
of the process to the first line of its output; memory is the most that was resident; installed is what its environment
takes on the disk, pip included. Run it on a quiet machine. It goes into benchmarks/results/startup.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "startup.json"
TEXT = "a charming and often affecting journey\n"


def once(python: Path, model: Path, paths: str | None) -> dict[str, float]:
    """One new process. paths: where it imports from before its own environment."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"PYTHONPATH": paths} if paths else {}
    read, write = os.pipe()
    os.write(write, TEXT.encode())
    os.close(write)
    command = [str(python), "-m", "trimformer", "predict", str(model), "--backend", "onnx-int8"]
    started = time.perf_counter()
    process = subprocess.Popen(command, stdin=read, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    os.close(read)
    assert process.stdout is not None
    answer = process.stdout.readline()
    first = time.perf_counter() - started
    _, status, used = os.wait4(process.pid, 0)
    if status or not answer:
        assert process.stderr is not None
        raise SystemExit(f"{python} gave no answer: {process.stderr.read().decode()}")
    return {"first_answer_s": first, "cpu_s": used.ru_utime + used.ru_stime, "memory_mb": used.ru_maxrss * 1024 / 1e6}


def installed(python: Path) -> float:
    """Megabytes of an environment, without links to what lies elsewhere."""
    files = (file for file in python.parent.parent.rglob("*") if file.is_file() and not file.is_symlink())
    return sum(file.stat().st_size for file in files) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="folder of an export with model.int8.onnx")
    parser.add_argument("--python", nargs="+", required=True, help="NAME=PYTHON, or NAME=PYTHON:FOLDER to import from")
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    places = {name: where.partition(":") for name, _, where in (one.partition("=") for one in given.python)}
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in places}
    for turn in range(given.rounds + 1):  # the first round reads files from the disk and does not count
        for name, (python, _, paths) in places.items():
            found = once(Path(python), given.model, paths)
            if turn:
                taken[name].append(found)
    environments: dict[str, Any] = {
        name: {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
        | {"installed_mb": installed(Path(places[name][0])), "rounds": rounds}
        for name, rounds in taken.items()
    }
    # Not before: a child's memory starts from that of this process, which these imports make large.
    from trimformer.files import save_text
    from trimformer.hardware import hardware

    content = {"hardware": hardware(), "environments": environments}
    save_text(RESULTS, json.dumps(content, indent=2) + "\n")
    for name, found in environments.items():
        print(name, {key: round(value, 2) for key, value in found.items() if key != "rounds"})


if __name__ == "__main__":
    main()
