"""The comparison with peers: equal operations, weights that go through unchanged, tables that say what was measured."""

import sys
from pathlib import Path

import pytest
import torch

from tests.tinymodel import write_stock_bert
from trimformer.encoder.checkpoints.families import to_huggingface
from trimformer.encoder.checkpoints.load import load
from trimformer.encoder.gating.trim import trim
from trimformer.measure.cost import cost

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
import peer_models
import peer_tables


@pytest.mark.parametrize("length", [16, 56, 256])
def test_pruned_sizes_use_at_most_the_operations_and_nearly_all(length):
    dense = load("shape:minilm-l6")
    wanted = cost(trim(dense, attention=dict.fromkeys(range(3), "mean")), length).flops
    heads, ffn = peer_models.sizes(dense, wanted, length)
    assert heads < 12
    assert ffn < 1536
    assert ffn % peer_models.MULTIPLE == 0

    def of(units: int) -> float:
        shapes = [type(shape)("full", heads, shape.head_size, units) for shape in dense.config.shapes]
        return cost(dense.config.with_shapes(shapes), length, head=type(dense)).flops

    assert of(ffn) <= wanted < of(ffn + peer_models.MULTIPLE)


def test_weights_of_a_pruned_stock_model_give_its_logits(tmp_path):
    dense = load(write_stock_bert(tmp_path / "bert", ["a", "b"]))
    stock = to_huggingface(dense)
    weights = stock.state_dict()
    # Layer 0 loses its second head, of 8; layer 1 loses units 3 and 20. What is removed adds nothing where it is 0.
    kept_dims, kept_units = torch.arange(8), torch.tensor([i for i in range(24) if i not in (3, 20)])
    with torch.no_grad():
        weights["bert.encoder.layer.0.attention.output.dense.weight"][:, 8:] = 0
        weights["bert.encoder.layer.1.output.dense.weight"][:, [3, 20]] = 0
    pruned = dict(weights)
    for name in ("query", "key", "value"):
        for leaf in ("weight", "bias"):
            full = f"bert.encoder.layer.0.attention.self.{name}.{leaf}"
            pruned[full] = weights[full][kept_dims]
    for full in ("bert.encoder.layer.1.intermediate.dense.weight", "bert.encoder.layer.1.intermediate.dense.bias"):
        pruned[full] = weights[full][kept_units]
    for full, kept in (("0.attention.output.dense", kept_dims), ("1.output.dense", kept_units)):
        pruned[f"bert.encoder.layer.{full}.weight"] = weights[f"bert.encoder.layer.{full}.weight"][:, kept]
    model = peer_models.from_stock_weights(dense, pruned)
    assert [(shape.heads, shape.ffn) for shape in model.config.shapes] == [(1, 24), (2, 22)]
    inputs = {"input_ids": torch.tensor([[2, 5, 6, 3], [2, 7, 3, 0]])}
    inputs["attention_mask"] = (inputs["input_ids"] > 0).long()
    with torch.inference_mode():
        assert torch.allclose(model(**inputs).logits, stock(**inputs).logits, atol=1e-6)


def timing(name, backend, batch, length, median, skipped=""):
    return {
        "name": name, "backend": backend, "batch": batch, "length": length, "median_ms": median, "skipped": skipped,
    }  # fmt: skip


def test_speed_table_has_factors_to_the_first_and_says_what_did_not_run():
    timings = [timing(*row) for row in [
        ("dense", "eager", 4, 256, 100.0), ("dense", "compile", 4, 256, None, "no compiler"),
        ("mean 2-11", "onnx", 4, 256, 25.0), ("dense", "eager", 1, 128, 10.0),
        ("dense", "compile", 1, 128, 8.0), ("mean 2-11", "onnx", 1, 128, 5.0),
    ]]  # fmt: skip
    content = {"speed": {"timings": timings, "flops": {"dense": [8.0, 4.0], "mean 2-11": [4.0, 3.0]}}}
    header, rows = peer_tables.speed(content)
    assert header == ["model", "back-end", "4×256", "1×128", "this row"]
    assert rows[0][2] == "100.0 ms, 1.00x, FLOPs 1.00"
    assert rows[1][2:4] == ["not run: no compiler", "8.0 ms, 1.25x, FLOPs 1.00"]
    assert rows[2][1:] == ["onnx", "25.0 ms, 4.00x, FLOPs 0.50", "5.0 ms, 2.00x, FLOPs 0.75", "`--only 'mean 2-11'`"]


def test_score_table_shows_every_back_end_and_the_fastest():
    def result(name, backend, score, flops):
        test = {"difference": score - 0.8, "low": -0.03, "high": 0.01}
        return {
            "name": name, "backend": backend, "scores": {"accuracy": score}, "flops": flops, "against_dense": test,
        }  # fmt: skip

    results = [
        result("dense", "torch", 0.8, 10),
        result("dense", "onnx-int8", 0.79, 10),
        result("trimformer", "torch", 0.79, 8),
        result("trimformer", "onnx-int8", 0.78, 8),
    ]
    times = [timing("dense", "eager", 8, 56, 30.0), timing("trimformer", "onnx", 8, 56, 10.0)]
    content = {"score mrpc seed 0": {"metric": "accuracy", "results": results}, "times mrpc": {"timings": times}}
    header, rows = peer_tables.scores(content)
    assert header[5:] == ["onnx-int8", "fastest, against eager"]
    assert rows[0] == ["mrpc, seed 0", "dense", "1.00", "80.0", "", "79.0", "1.00x, eager"]
    assert rows[1] == ["mrpc, seed 0", "trimformer", "0.80", "79.0", "-1.0 (-3.0 to +1.0)", "78.0", "3.00x, onnx"]
