"""The choice of a back-end: the best that loses little enough, said in a line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.models import tiny
from tests.tinymodel import words_tokenizer, write_stock_bert
from trimformer.deploy.export import ExportedFile
from trimformer.encoder.checkpoints.load import load_with_head
from trimformer.errors import TrimformerError
from trimformer.measure.bench import target as module
from trimformer.measure.bench.target import MeasuredFile, choose, export_for
from trimformer.tasks.settings import TaskSettings


def candidate(backend: str, precision: str, value: float, error: float, drop: float | None = None) -> MeasuredFile:
    score = None if drop is None else 0.9 - drop / 100
    file = ExportedFile(Path("model"), backend, precision, 1, error, None, 1.0, score, drop)
    return MeasuredFile(file, [value], value)


def test_the_best_unless_it_loses_too_much() -> None:
    exact = candidate("onnx", "fp32", 10, 0, 0)
    quick = candidate("onnx-int8", "int8", 5, 0.1, 0.6)
    half = candidate("openvino-bf16", "bf16", 7, 0.01, 0.1)
    assert choose([exact, quick, half], 0.5) is half
    assert choose([exact, quick, half], 0.6) is quick
    # 0.900 to 0.895 is 0.5000000000000004 points, and within half a point as for the autopilot.
    assert (
        choose([exact, candidate("onnx-int8", "int8", 5, 0.1, 100 * (0.900 - 0.895))], 0.5).file.backend == "onnx-int8"
    )
    assert module._notes("latency", [exact, quick, half], 0.5) == [
        "onnx-int8 is left out: it loses 0.60 points, more than 0.5."
    ]


def test_of_files_about_as_good_the_most_exact() -> None:
    exact, quick = candidate("onnx", "fp32", 5.2, 0), candidate("onnx-int8", "int8", 5, 0.1)
    assert choose([exact, quick], 0.5) is exact


def test_int8_that_does_not_pay_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = [candidate("onnx", "fp32", 5, 0), candidate("onnx-int8", "int8", 6, 0.1)]
    monkeypatch.setattr(module, "cpu_flags", lambda: frozenset({"avx2"}))
    assert module._notes("latency", slow, 0.5) == [
        "int8 does not pay on this CPU, which has no instructions for it (VNNI, AMX): 6.00 ms against 5.00 ms."
    ]
    monkeypatch.setattr(module, "cpu_flags", lambda: frozenset({"avx_vnni"}))
    assert module._notes("latency", slow, 0.5) == ["int8 does not pay on this CPU: 6.00 ms against 5.00 ms."]


def test_only_the_chosen_file_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "available_backends", lambda: ["torch", "onnx", "onnx-int8", "torch-export"])
    choice = export_for("latency", tiny(2), tmp_path)
    assert [one.file.backend for one in choice.candidates] == ["onnx", "onnx-int8"]
    assert all(len(one.milliseconds) == 2 and one.value > 0 for one in choice.candidates)
    assert [path.name for path in tmp_path.iterdir()] == [choice.chosen.path.name]
    assert choice.why.startswith(f"{choice.chosen.backend}: the fastest for one text here")
    assert "score is not known" in choice.why


def test_mistakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TrimformerError, match="no target 'speed': use one of latency, throughput, size"):
        export_for("speed", tiny(1), tmp_path)
    monkeypatch.setattr(module, "available_backends", lambda: ["torch"])
    with pytest.raises(TrimformerError, match="No runtime is installed"):
        export_for("size", tiny(1), tmp_path)


def test_with_data_the_balance_of_the_classes_is_said_as_by_compress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 20 rows one is of the other class, which the model never answers."""
    monkeypatch.setattr(module, "available_backends", lambda: ["torch", "onnx"])
    model = load_with_head(write_stock_bert(tmp_path / "m", ["neg", "pos"]))
    with torch.no_grad():
        model.head.output.weight.zero_()
        model.head.output.bias.copy_(torch.tensor([1.0, 0.0]))
    data = tmp_path / "v.csv"
    data.write_text("text,label\n" + "".join(f"good film {i},{'neg' if i else 'pos'}\n" for i in range(20)))
    choice = export_for("size", model, tmp_path / "out", words_tokenizer(), TaskSettings(validation=str(data)))
    most, exact, file = choice.notes[:3]
    assert most.startswith("WARNING: 95.0 % of the 20 validation rows have the label neg")
    assert exact.startswith("WARNING: The model in fp32 has a macro F1 of 0.487")
    assert "onnx has a macro F1 of 0.487 on the validation rows and never answers pos." in file
    assert "--metric f1_macro" in file
