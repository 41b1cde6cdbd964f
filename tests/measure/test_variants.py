"""Variants: all back-ends of a model give the same answers; exported files run as they are; names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.models import padded_batch, tiny
from trimformer.deploy.backends import FILE_BACKENDS, write
from trimformer.encoder.checkpoints.load import with_labels
from trimformer.encoder.gating.trim import trim
from trimformer.encoder.model.heads import head_class
from trimformer.errors import TrimformerError
from trimformer.measure.bench import variants as module
from trimformer.measure.bench.process import disk_bytes, footprint
from trimformer.measure.bench.variants import (
    available_backends,
    backends_of,
    make_variants,
    named,
    open_variant,
    precision,
)


def with_head(kind: Any, family: str) -> Any:
    body = tiny(2, family=family)
    torch.manual_seed(0)
    return head_class(kind)(with_labels(body.config, () if kind == "spans" else ("a", "b"), kind)).eval()


@pytest.mark.parametrize(
    ("kind", "family"), [("classification", "bert"), ("tokens", "roberta"), ("spans", "distilbert"), ("body", "bert")]
)
def test_back_ends_agree(kind: Any, family: str, tmp_path: Path) -> None:
    model = tiny(2).encoder if kind == "body" else with_head(kind, family)
    inputs = padded_batch(model)
    del inputs["token_type_ids"]
    variants = make_variants([model], ["eager", "sdpa", "torch", *(["onnx"] if kind == "tokens" else [])], 1, tmp_path)
    assert not any(variant.skipped for variant in variants)
    real = inputs["attention_mask"].bool().numpy()
    answers = [v.run(inputs) for v in variants if v.run is not None]
    for answer in answers[1:]:
        if answer.ndim == 3:
            np.testing.assert_allclose(answer[real], answers[0][real], atol=1e-4)
        else:
            np.testing.assert_allclose(answer, answers[0], atol=1e-4)


def test_an_exported_file_runs_under_its_own_back_end(tmp_path: Path) -> None:
    model = tiny(2)
    path = write(model, "onnx-int8", tmp_path)
    model.save_pretrained(tmp_path)
    (variant,) = make_variants({"mine": str(path)}, ["torch", "eager"], 1, tmp_path / "new")
    assert (variant.name, variant.backend, variant.skipped) == ("mine", "onnx-int8", "")
    assert (variant.config.hidden_size, variant.head) == (16, type(model))
    assert variant.run(padded_batch(model)).shape == (4, 3)


def test_back_ends_of_files() -> None:
    assert backends_of(Path("a/model.int8.onnx")) == ["onnx-int8"]
    assert backends_of(Path("a/other.onnx")) == ["onnx"]
    assert backends_of(Path("model.xml"))[0] == "openvino"
    assert backends_of(Path("runs/model")) == []


def test_names(tmp_path: Path) -> None:
    model = tiny(1)
    given = ["shape:bert-tiny,attention=1=mean", "new=shape:bert-tiny,attention=1=mean", "runs/lr=1/model", model]
    assert named(given) == {
        given[0]: given[0],
        "new": "shape:bert-tiny,attention=1=mean",
        "runs/lr=1/model": "runs/lr=1/model",
        "model 4": model,
    }
    with pytest.raises(TrimformerError, match="Two models are called a"):
        named(["a", "a"])


def test_what_is_available_is_known_and_has_a_precision() -> None:
    found = available_backends()
    assert {"eager", "sdpa", "torch"} <= set(found) <= set(module.BACKENDS)
    assert {precision(name) for name in module.BACKENDS} == {"fp32", "bf16", "fp16", "int8"}
    assert precision("onnx-int8") == "int8"


def test_without_a_compiler_or_an_extra_nothing_needs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.shutil, "which", lambda _: None)
    monkeypatch.setattr(module, "_has", lambda package: package != "openvino")
    found = available_backends()
    assert not {"compile", "torch-compile"} & set(found)
    assert not {name for name, file in FILE_BACKENDS.items() if file.extra == "openvino"} & set(found)


def test_a_gpu_back_end_says_what_it_needs(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    (variant,) = make_variants([tiny(1)], ["torch-graphs"], 1, tmp_path)
    assert "needs an NVIDIA GPU" in variant.skipped


def test_onnx_cuda_does_not_run_on_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(module, "_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(TrimformerError, match="onnxruntime-gpu"):
        open_variant(tmp_path / "model.onnx", "onnx-cuda", 1, {})


def test_compiled_modules_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the compiler itself, which takes a minute."""
    monkeypatch.setattr(module.torch, "compile", lambda net, mode: net)
    model = tiny(1)
    variants = make_variants([model], ["compile", "torch-compile"], 1, tmp_path)
    assert [v.run(padded_batch(model)).shape for v in variants if v.run is not None] == [(4, 3)] * 2


def test_modules_are_loaded_once(tmp_path: Path) -> None:
    tiny(1).save_pretrained(tmp_path)
    modules: dict[Any, Any] = {}
    open_variant(tmp_path, "torch", 1, modules)
    open_variant(tmp_path, "torch-compile", 1, modules)
    assert len(modules) == 1


def test_footprint_of_a_fresh_process(tmp_path: Path) -> None:
    (variant,) = make_variants([tiny(2)], ["onnx"], 1, tmp_path)
    assert variant.path is not None
    found = footprint(variant, 2, 8, threads=1)
    assert found.skipped == ""
    assert found.disk_bytes == variant.path.stat().st_size
    assert found.start_s == pytest.approx(found.import_s + found.load_s + found.first_s)
    assert found.peak_bytes is None or found.peak_bytes > 50e6


def test_a_process_that_dies_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (variant,) = make_variants([tiny(1)], ["torch"], 1, tmp_path)
    monkeypatch.setattr("trimformer.measure.bench.process.sys.executable", "false")
    assert footprint(variant, 2, 8, threads=1).skipped == "the process ended with code 1"


def test_disk_bytes_count_what_belongs_to_a_file(tmp_path: Path) -> None:
    for name in ("model.onnx", "model.xml", "model.bin", "model.safetensors", "config.json"):
        (tmp_path / name).write_bytes(b"12345")
    assert disk_bytes(tmp_path / "model.onnx") == 5
    assert disk_bytes(tmp_path / "model.xml") == 10
    assert disk_bytes(tmp_path) == 5


@pytest.mark.parametrize("kind", ["full", "mean", "none"])
def test_the_encoder_is_one_graph_to_a_compiler(kind: str) -> None:
    """What it does by the shape alone must not break the graph, which would cost speed."""
    model = tiny(2) if kind == "full" else trim(tiny(2), attention={1: kind})
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    inputs = padded_batch(model)
    with torch.inference_mode():
        torch.testing.assert_close(compiled(**inputs).logits, model(**inputs).logits)
