"""``trimformer predict`` beside a Hugging Face pipeline, lines per second and memory: ``python benchmarks/predict.py``.

Writes short generated reviews (5 to 15 words, all different) and labels them in three ways: a loop over
``pipeline("text-classification", batch_size=32)`` with the dense fp32 ONNX file on the first lines, timed before and
after all else; ``trimformer predict`` with the same file; and with the int8 ONNX file of the trimmed model. The
commands are processes of their own, start-up and all. The models are those of a finished ``trimformer demo`` run
(--run), which is made first where there is none.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import torch
from transformers import PreTrainedModel, pipeline
from transformers.modeling_outputs import SequenceClassifierOutput

import trimformer
from trimformer.deploy.session import open_session, run_session
from trimformer.encoder.load import load_tokenizer, read_config
from trimformer.measure.hardware import hardware
from trimformer.tasks.sentiment import generate

RESULTS = Path(__file__).parent / "results" / "predict.json"
SEED = 1
COMMANDS = {
    "predict, dense, fp32": ("dense", "onnx"),
    "predict, dense, int8": ("dense", "onnx-int8"),
    "predict, trimmed, int8": ("trimmed", "onnx-int8"),
}


class OnnxClassifier(PreTrainedModel):
    """An ONNX file as a model that the pipeline takes."""

    config_class = trimformer.TrimformerConfig

    def __init__(self, folder: Path) -> None:
        super().__init__(read_config(folder))
        self.session = open_session(folder / "model.onnx")
        self.anchor = torch.nn.Parameter(torch.zeros(1))  # the pipeline asks for a device

    def forward(self, **inputs: torch.Tensor) -> SequenceClassifierOutput:
        return SequenceClassifierOutput(logits=torch.from_numpy(run_session(self.session, inputs)))


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
    arguments = ["predict", model, file, "--backend", backend, "--out", out]
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
    parser.add_argument("--pipeline-lines", type=int, default=20_000)
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

    file, tenth = write_lines(given.work, given.lines), write_lines(given.work, given.lines // 10)
    classify = pipeline(
        "text-classification",
        model=OnnxClassifier(folders["dense"]),
        tokenizer=load_tokenizer(folders["dense"]),
        batch_size=32,
    )
    run_pipeline(classify, file, 320)  # warm up
    reference, before = run_pipeline(classify, file, given.pipeline_lines)
    measured: dict[str, dict[str, Any]] = {}
    for name, (model, backend) in COMMANDS.items():
        out = given.work / "labels.txt"
        seconds, memory = run_predict(folders[model], backend, file, out)
        small = run_predict(folders[model], backend, tenth, given.work / "labels-tenth.txt")[1]
        with out.open(encoding="utf-8") as labels:
            found = [line.rstrip("\n") for line in labels]
        assert len(found) == given.lines
        same = sum(a == b for a, b in zip(reference, found, strict=False)) / len(reference)
        measured[name] = {
            "rows_per_second": given.lines / seconds,
            "agreement": same,
            "memory_mb_at_tenths": memory,
            "memory_mb_of_a_tenth_of_the_lines": max(small),
        }
        print(name, measured[name], file=sys.stderr, flush=True)
    again, after = run_pipeline(classify, file, given.pipeline_lines)
    assert again == reference
    baseline = statistics.mean([before, after])

    header = ["", "lines/s", "factor", "same label", f"memory, {given.lines // 10:,} lines", f"{given.lines:,} lines"]
    table = [
        [f"Hugging Face pipeline, dense, fp32 ({given.pipeline_lines:,} lines)", f"{baseline:,.0f}", "1.0", "", "", ""]
    ]
    for name, values in measured.items():
        values["factor"] = values["rows_per_second"] / baseline
        table.append([
            name, f"{values['rows_per_second']:,.0f}", f"{values['factor']:.1f}", f"{values['agreement']:.2%}",
            f"{values['memory_mb_of_a_tenth_of_the_lines']:,.0f} MB", f"{max(values['memory_mb_at_tenths']):,.0f} MB",
        ])  # fmt: skip
    content = {
        "command": " ".join(["python", "benchmarks/predict.py", *sys.argv[1:]]),
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
