"""``profile``: what is counted agrees with the file, and each operator of a runtime finds its component."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from safetensors import safe_open
from torch import nn

import trimformer
from tests.encoder.test_exits import with_exits
from tests.exporter import own_exporter
from tests.models import tiny, with_layers, with_tokens
from tests.tinymodel import write_stock_bert
from trimformer.deploy.writers import write
from trimformer.encoder.model.exported import ExportedEncoder
from trimformer.encoder.packing.base import PACKINGS
from trimformer.encoder.packing.files import is_packed
from trimformer.encoder.parts.components import OWN, Component
from trimformer.encoder.parts.layers.cnn import cnn_shape
from trimformer.errors import TrimformerError
from trimformer.measure.bench.bench import Texts
from trimformer.measure.bench.workload import Workload
from trimformer.measure.device.pieces import latency_tables
from trimformer.measure.profile import count
from trimformer.measure.profile.clocks import Pass
from trimformer.measure.profile.count import stored_bytes, weights_of
from trimformer.measure.profile.follow import followed
from trimformer.measure.profile.graph import Known, Operator, components
from trimformer.measure.profile.onnx import OnnxClock
from trimformer.measure.profile.openvino import OpenVinoClock
from trimformer.measure.profile.profile import _Recorded, profile
from trimformer.methods.structure.deformer import split

QUICK = {"repeats": 1, "seconds": 0.0, "threads": 1}
FILES = {"onnx": OnnxClock, "onnx-int8": OnnxClock, "openvino": OpenVinoClock}
BERT = ["embeddings", "maps before attention", "attention", "map after attention", "feed-forward", "head", "other"]


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stock_bert(tmp_path_factory.mktemp("stock") / "bert", ["neg", "pos"])


@pytest.fixture(scope="module")
def exported(stock: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Known, dict[str, Path]]:
    """The names of a graph by the exporter that users get, and its files."""
    net, folder = trimformer.load(stock), tmp_path_factory.mktemp("files")
    with own_exporter():
        files = {backend: write(net, backend, folder) for backend in FILES}
    return Known(ExportedEncoder(net), files["onnx"]), files


def test_a_stock_bert_under_every_kind_of_runtime(stock: Path) -> None:
    backends = ["torch", *FILES]
    found = profile(stock, length=8, batch=2, backends=backends, **QUICK)
    assert [piece.component for piece in found.pieces] == BERT
    assert list(found.whole_ms) == backends
    assert (found.skipped, found.on_disk, found.texts) == ({}, True, None)
    net = trimformer.load(stock)
    counted = trimformer.cost(net, 8)
    assert (found.weights, found.bytes) == (counted.params, counted.bytes)
    assert found.flops == 2 * counted.flops
    for backend in backends:
        assert found.told(backend) > 0
        assert found.whole_ms[backend] > 0
        assert any(note.startswith(f"{backend}: the parts add up to ") for note in found.notes())
    assert all(piece.ms["torch"] > 0 for piece in found.pieces)
    json = found.as_json()
    assert json["total"] == {
        "weights": found.weights, "bytes": found.bytes, "flops": found.flops, "memory": found.memory,
    }  # fmt: skip
    assert json["pieces"][1]["ms"].keys() == set(backends)


def test_what_a_model_does_not_have_is_not_shown() -> None:
    body = tiny(1).encoder
    assert [piece.component for piece in profile(body, length=8, backends=["torch"], **QUICK).pieces] == [
        *BERT[:-2], "other",
    ]  # fmt: skip
    student = profile(with_layers("cnn", layers=[cnn_shape("conv3").to_dict()]), length=8, backends=["torch"], **QUICK)
    assert [piece.component for piece in student.pieces] == ["embeddings", "convolutions, pools", "head", "other"]
    assert not student.on_disk


def test_nodes_belong_to_the_component_of_the_weights_that_they_read(exported: tuple[Known, dict[str, Path]]) -> None:
    known, files = exported
    parts = {
        "embeddings.word": Component.EMBEDDINGS, "attention.query": Component.BEFORE, "attention.key": Component.BEFORE,
        "attention.value": Component.BEFORE, "attention.output": Component.AFTER,
        "ffn_in": Component.FEED_FORWARD, "ffn_out": Component.FEED_FORWARD,
        "head.dense": Component.HEAD,
    }  # fmt: skip
    readers = onnx.load(str(files["onnx"])).graph.node
    for part, component in parts.items():
        own = [node for node in readers if any(f"{part}.weight" in value for value in node.input)]
        assert own, part
        assert {known.names[node.name] for node in own} == {component}
    assert {known.names[node.name] for node in readers if node.op_type == "Softmax"} == {Component.ATTENTION}
    norms = [known.names[node.name] for node in readers if node.op_type == "LayerNormalization"]  # of two layers
    assert norms == [Component.EMBEDDINGS, *[Component.AFTER, Component.FEED_FORWARD] * 2]


@pytest.mark.parametrize("backend", FILES)
def test_the_operators_of_a_runtime_find_all_components(
    exported: tuple[Known, dict[str, Path]], backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, files = exported
    seen: dict[str, Component | None] = {}

    def spy(operators: dict[str, Operator], names: Known) -> Any:
        found, fused = components(operators, names)
        seen.update(found)
        return found, fused

    monkeypatch.setattr(f"{FILES[backend].__module__}.components", spy)
    clock: Any = FILES[backend](files[backend], backend, 1, lambda: known)
    inputs = {"input_ids": torch.randint(4, 30, (1, 8)), "attention_mask": torch.ones(1, 8, dtype=torch.long)}
    for _ in range(2):
        clock.run(inputs)
    passes = clock.passes()
    assert len(passes) == 2
    assert all(sum(one.parts.values()) > 0 and one.fused == 0 for one in passes)
    absent = {Component.RECURRENT, Component.CONVOLUTION}
    assert set(seen.values()) == {None, *Component} - absent
    rounding = [name for name in seen if "ReduceMax" in name or "QuantizeLinear" in name or "fq_output" in name]
    assert bool(rounding) == (backend == "onnx-int8")
    assert None not in {seen[name] for name in rounding}


def known(**names: Component | None) -> Known:
    made = Known.__new__(Known)
    made.names = names
    return made


def test_what_a_runtime_adds_belongs_to_what_reads_it_and_what_spans_components_to_none() -> None:
    operators = {
        "round": Operator(["round.1"], ["key", "value"]),
        "key": Operator(["k.product"]),
        "value": Operator(["v"], ["both"]),
        "both": Operator(["v", "o"], []),
        "spread": Operator(["unknown"], ["key", "out"]),
        "sum": Operator(["s"], ["out"]),
        "out": Operator(["o", "s"]),
    }
    names = known(k=Component.BEFORE, v=Component.BEFORE, o=Component.AFTER, s=None)
    found, fused = components(operators, names)
    assert found == {
        "round": Component.BEFORE, "key": Component.BEFORE, "value": Component.BEFORE, "both": None, "spread": None,
        "sum": None, "out": Component.AFTER,
    }  # fmt: skip
    assert fused == {"both"}


class Inner(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ x


class Outer(nn.Module):
    components = {OWN: Component.ATTENTION, "inner": Component.BEFORE}  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.inner = Inner()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.cat([x, x]) + 1  # twice the input, and the sum beside it
        del y
        return self.inner(x) + x


def test_a_module_interrupts_the_one_that_calls_it() -> None:
    told: list[Component | None] = []
    outer = Outer()
    with followed(outer, told.append):
        outer(torch.ones(3, 3))
    assert told == [Component.ATTENTION, Component.BEFORE, Component.ATTENTION, None]
    outer(torch.ones(3, 3))
    assert len(told) == 4


def test_memory_is_the_most_that_is_there_at_one_time() -> None:
    x = torch.ones(10, 10, device="meta")
    work = count._counted(Outer(), {"x": x})
    one = 4 * 100
    assert work.memory[Component.ATTENTION] == 4 * one
    assert work.memory[Component.BEFORE] == one
    assert work.flops[Component.BEFORE] == 2 * 10**3


def test_bytes_are_those_of_the_file(stock: Path, tmp_path: Path) -> None:
    half = trimformer.load(stock).half()
    half.save_pretrained(tmp_path / "half")
    net = trimformer.load(tmp_path / "half")
    weights, sizes = weights_of(net, stored_bytes(net, tmp_path / "half"))
    assert sizes == {place: 2 * weight for place, weight in weights.items()}


def test_texts_are_measured_with_their_own_lengths(stock: Path, tmp_path: Path) -> None:
    file = tmp_path / "texts.txt"
    file.write_text("the film was good\nbad\n" * 30, encoding="utf-8")
    found = profile(stock, batch=2, texts=Texts(file), backends=["torch"], **QUICK)
    assert (found.texts, found.length) == (str(file), 4)
    net = trimformer.load(stock)
    assert found.flops == 2 * trimformer.cost(net, 6).flops  # each batch is padded to the longer of its two


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"backends": ["eager"]}, "eager does not tell the time of its parts: use some of torch, "),
        ({"backends": ["nothing"]}, "Unknown backend 'nothing'"),
        ({"length": 41}, "takes at most 40 tokens, not 41"),
        ({}, "takes at most 40 tokens, not 128"),
        ({"batch": 0}, "of at least 1"),
        ({"length": 8, "texts": Texts(Path("texts.txt"))}, "Texts have lengths of their own"),
        ({"texts": Texts(Path("texts.txt"))}, "There is no file texts.txt"),
    ],
)
def test_mistakes_are_found_before_any_work(stock: Path, how: dict[str, Any], message: str) -> None:
    with pytest.raises(TrimformerError, match=message):
        profile(stock, **how)


@pytest.mark.parametrize("kind", PACKINGS)
def test_bytes_of_a_packed_folder_add_up_to_those_of_its_file(kind: str, tmp_path: Path) -> None:
    model = tiny()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.copy_(PACKINGS[kind].example(weight))
    model.save_pretrained(tmp_path)
    assert is_packed(tmp_path / "model.safetensors")
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        written = {name: file.get_tensor(name).nbytes for name in file.keys()}  # noqa: SIM118
    net = trimformer.load(tmp_path)
    assert sum(weights_of(net, stored_bytes(net, tmp_path))[1].values()) == sum(written.values())
    body = sum(size for name, size in written.items() if name.startswith("encoder."))
    assert sum(weights_of(net.encoder, stored_bytes(net.encoder, tmp_path))[1].values()) == body


def test_parts_are_means_over_the_middle_half_of_the_passes_of_a_batch() -> None:
    batches: Any = ({}, {})
    passes = [  # the first one warms up
        Pass({None: 90.0}),
        *(Pass({Component.BEFORE: ms, None: 1.0}, fused=0.5) for ms in (100.0, 4.0, 2.0, 1.0)),
    ]

    class Taken:
        run = staticmethod(lambda inputs: np.zeros(1))
        passes = staticmethod(lambda: [*passes, Pass({Component.HEAD: 8.0})])

    clock: Any = Taken()
    recorded = _Recorded(clock)
    for batch in (*[batches[0]] * 5, batches[1]):
        recorded.run(batch)
    mean = recorded.mean(Workload(1, "fixed", batches, np.full(2, 8)))
    assert mean.parts == {Component.BEFORE: 1.5, None: 0.5, Component.HEAD: 4.0}
    assert mean.fused == 0.25


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: with_exits("classification"), "has exits"),
        (lambda: with_tokens(tiny(), 4), "hand on fewer tokens"),
        (lambda: split(tiny(), 1), "see each text of a pair by itself"),
    ],
    ids=["exits", "fewer", "split"],
)
def test_models_whose_parts_cost_what_texts_make_of_them_are_refused(make: Any, what: str) -> None:
    with pytest.raises(TrimformerError, match=f"{what}.* time it whole"):
        profile(make(), backends=["torch"], **QUICK)


def test_a_table_knows_no_layers_that_see_each_text_by_itself() -> None:
    with pytest.raises(TrimformerError, match="The first 1 layers see each text of a pair by itself, which a table"):
        latency_tables(split(tiny(), 1), backends=["torch"], length=[8])
