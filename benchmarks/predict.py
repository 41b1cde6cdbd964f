"""``trimformer predict`` beside a Hugging Face pipeline, lines per second and memory: ``python benchmarks/predict.py``.

Writes short generated reviews (5 to 15 words, all different) and labels them: with a loop over the stock
``pipeline("text-classification", batch_size=32)`` and the dense model, the first lines only, timed before and after
all else; with ``trimformer predict`` and the dense model's ONNX file, a tenth of the lines; with ``trimformer
predict`` and the int8 ONNX file of the trimmed model, all lines. The commands are processes of their own, start-up
and all. The models are those of a finished ``trimformer demo`` run (--run), which is made first where there is none.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from transformers import pipeline

import trimformer
from trimformer.encoder.checkpoints.load import load_tokenizer, read_config
from trimformer.hardware import hardware
from trimformer.tasks.sources.sentiment import generate

RESULTS = Path(__file__).parent / "results" / "predict.json"
SEED = 1
# name: (model, backend, over all lines and not a tenth of them)
COMMANDS = {
    "predict, dense, fp32": ("dense", "onnx", False),
    "predict, trimmed, int8": ("trimmed", "onnx-int8", True),
}


def run_pipeline(classify: Any, file: Path, rows: int) -> tuple[list[str], float]:
    """Labels of the first rows of a file, and rows per second."""

    def lines() -> Iterator[str]:
        with file.open(encoding="utf-8") as texts:
            for _ in range(rows):
                yield next(texts).rstrip("\n")

    start = time.perf_counter()
    labels = [answer["label"] for answer in classify(lines())]
    return labels, rows / (time.perf_counter() - start)


def run_predict(model: Path, backend: str, file: Path, out: Path) -> tuple[float, list[float]]:
    """Seconds, and memory in MB (unique set of the process and its children) at each tenth of the output."""
    state = out.with_name(f"{out.name}.partial.json")
    size, tenths = file.stat().st_size, [0.0] * 10
    start = time.perf_counter()
    arguments = ["predict", model, file, "--backend", backend, "--out", out, "--force"]
    command = subprocess.Popen([sys.executable, "-m", "trimformer", *map(str, arguments)], stderr=subprocess.DEVNULL)
    process = psutil.Process(command.pid)
    while command.poll() is None:
        try:
            done = json.loads(state.read_text())["progress"]["start"] / size
            memory = sum(p.memory_full_info().uss for p in [process, *process.children(recursive=True)]) / 2**20
        except (OSError, ValueError, psutil.Error):  # not begun yet, or just over
            done = memory = 0.0
        tenth = min(9, int(done * 10))
        tenths[tenth] = max(tenths[tenth], memory)
        time.sleep(0.2)
    if command.returncode:
        raise SystemExit(f"{arguments} ended with code {command.returncode}")
    return time.perf_counter() - start, tenths


def write_lines(folder: Path, count: int) -> Path:
    file = folder / f"lines-{count}.txt"
    if not file.is_file():
        texts = [text for text in generate(count * 2, SEED).texts if 5 <= len(text.split()) <= 15]
        file.write_text("".join(f"{text}\n" for text in texts[:count]), encoding="utf-8")
    with file.open() as lines:
        assert sum(1 for _ in lines) == count
    return file


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--run", type=Path, default=Path("runs/demo"), help="a finished `trimformer demo` run")
    parser.add_argument("--work", type=Path, default=Path("runs/predict"), help="folder for lines, models and labels")
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--pipeline-lines", type=int, default=10_000)
    parser.add_argument("--json", type=Path, default=RESULTS)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)

    if not (given.run / "report.json").is_file():
        subprocess.run([sys.executable, "-m", "trimformer", "demo", "--out", str(given.run)], check=True)
    folders = {"trimmed": given.run / "onnx", "dense": given.work / "dense-onnx"}
    if not folders["dense"].is_dir():
        dense = given.run / "dense/model"
        trimformer.export(trimformer.load(dense), folders["dense"], tokenizer=load_tokenizer(dense))
    shapes = [shape.attention for shape in read_config(folders["trimmed"]).shapes]

    file = write_lines(given.work, given.lines)
    tenth = file.with_name("tenth.txt")
    with file.open(encoding="utf-8") as lines:
        tenth.write_text("".join(itertools.islice(lines, given.lines // 10)), encoding="utf-8")
    stock = trimformer.to_huggingface(trimformer.load(given.run / "dense/model"))
    classify = pipeline(
        "text-classification", model=stock, tokenizer=load_tokenizer(folders["dense"]), batch_size=32, device="cpu"
    )
    run_pipeline(classify, file, 320)  # warm up
    reference, before = run_pipeline(classify, file, given.pipeline_lines)
    measured: dict[str, dict[str, Any]] = {}
    for name, (model, backend, everything) in COMMANDS.items():
        out = given.work / "labels.txt"
        seconds, memory = run_predict(folders[model], backend, file if everything else tenth, out)
        with out.open(encoding="utf-8") as labels:
            found = [line.rstrip("\n") for line in labels]
        assert len(found) == (given.lines if everything else given.lines // 10)
        measured[name] = {
            "lines": len(found),
            "rows_per_second": len(found) / seconds,
            "agreement": sum(a == b for a, b in zip(reference, found, strict=False)) / len(reference),
            "memory_mb_at_tenths": memory,
        }
        print(name, measured[name], file=sys.stderr, flush=True)
    again, after = run_pipeline(classify, file, given.pipeline_lines)
    assert again == reference
    baseline = statistics.mean([before, after])

    header = ["", "lines", "lines/s", "factor", "same label", "memory over the run"]
    table = [["Hugging Face pipeline, dense, fp32", f"{given.pipeline_lines:,}", f"{baseline:,.0f}", "1.0", "", ""]]
    for name, values in measured.items():
        values["factor"] = values["rows_per_second"] / baseline
        memory = [value for value in values["memory_mb_at_tenths"] if value] or [0.0]
        table.append([
            name, f"{values['lines']:,}", f"{values['rows_per_second']:,.0f}",
            f"{values['factor']:.1f}", f"{values['agreement']:.2%}", f"{min(memory):,.0f} to {max(memory):,.0f} MB",
        ])  # fmt: skip
    content = {
        "command": "python benchmarks/predict.py",
        "hardware": hardware(),
        "lines": given.lines,
        "pipeline": {"lines": given.pipeline_lines, "before": before, "after": after},
        "trimmed": shapes,
        "commands": measured,
        "header": header,
        "table": table,
    }
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    for row in [header, *table]:
        print(" | ".join(row))


if __name__ == "__main__":
    main()
