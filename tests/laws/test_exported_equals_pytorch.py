"""Law: the exported model gives PyTorch's answers, with padding, at batches and lengths that the export never saw."""

import pytest
import torch

from tests.models import (
    FAMILY_NAMES,
    WITHOUT_FAMILY,
    padded_batch,
    points_of,
    random_gates,
    tiny,
    trained,
    with_layers,
    with_tokens,
)
from trimformer import Gates, export, trim
from trimformer.deploy.writers import write
from trimformer.encoder.shape.kinds import stand_ins
from trimformer.inference.runtimes.backends import open_backend
from trimformer.methods.structure.deformer import split
from trimformer.methods.weights.repair import repair

# XLM-RoBERTa and CamemBERT are RoBERTa's encoder under other names.
DISTINCT = [family for family in FAMILY_NAMES if family not in ("xlm-roberta", "camembert")]


SMALLER = ("bert", "mpnet", "deberta-v2", "modernbert")
OF_EACH_FORM = [SMALLER[0], *(pytest.param(name, marks=pytest.mark.slow) for name in SMALLER[1:])]
"""The families whose files with parts removed are written, too, beside a whole layer and a mean."""

# As few layers as show the kinds: writing a file takes seconds for each.
CASES = [
    ("bert", {}),
    ("bert", {0: "mean", 1: "mean"}),
    ("bert", {0: "none", 1: "none"}),
    ("bert", {1: "none", 2: "conv"}),
    ("albert", {0: "conv", 2: "none"}),
    ("modernbert", {0: "none", 1: "conv"}),
    ("modernbert", {0: "sparse-logsparse", 1: "sparse-fixed"}),
    *((family, {1: "mean"}) for family in DISTINCT if family not in SMALLER),
]


@pytest.mark.parametrize(("family", "kinds"), CASES, ids=str)
def test_the_files_give_the_same_logits(tmp_path, family, kinds):
    check_files(trained(trim(tiny(1 + max(kinds, default=0), family=family), attention=kinds)), tmp_path)


@pytest.mark.parametrize("kind", WITHOUT_FAMILY)
def test_the_files_of_encoders_that_are_no_transformers(tmp_path, kind):
    check_files(with_layers(kind), tmp_path)


@pytest.mark.parametrize("family", OF_EACH_FORM)
def test_the_files_of_layers_that_hand_on_fewer_tokens(tmp_path, family):
    """A share, a layer without attention, and a number, which short texts do not have."""
    model = with_tokens(trim(tiny(4, family=family), attention={1: "mean"}), 0.7, None, 5)
    check_files(model, tmp_path, [(1, 2), (4, 9), (5, 21), (2, 36)])


@pytest.mark.slow
def test_the_files_of_windows_computed_by_blocks(tmp_path):
    """Texts that are one block, and texts that are several; the last layer, of the first token alone, is another."""
    model = tiny(3, family="modernbert", max_position_embeddings=400)
    band = model.encoder.layers[1].attention.long_band
    assert band.long == 170
    check_files(model, tmp_path, [(1, 2), (2, 9), (3, 200), (1, 400)])


@pytest.mark.parametrize(
    ("backend", "pattern"),
    [
        ("quick", {"name": "window", "window": 4}),
        ("quick", {"name": "longformer", "window": 2, "first": 2}),
        ("quick", {"name": "offsets", "offsets": [[0, 1], [0, 3]], "special": True}),
        pytest.param("torch-export", {"name": "longformer", "window": 4, "first": 2}, marks=pytest.mark.slow),
    ],
)
def test_the_files_of_patterns_computed_by_blocks(tmp_path, backend, pattern):
    model = tiny(3, family="modernbert", max_position_embeddings=400)
    model = trim(model, attention={1: {"kind": "sparse", "pattern": pattern}})
    first = model.encoder.layers[1].attention.long_band.first
    name = "onnx" if backend == "quick" else backend
    session = open_backend(write(model, name, tmp_path, quick=backend == "quick"), name, threads=1)
    for n in (200, 400) if first else (2, 200, 400):
        inputs = padded_batch(model, 2, n)
        with torch.no_grad():
            expected = model(**inputs).logits
        torch.testing.assert_close(torch.from_numpy(session.run(inputs)), expected, atol=1e-4, rtol=0)


def test_the_halves_of_a_split_model(tmp_path):
    """A whole layer and a convolution see each text by itself, another convolution sees both."""
    model = trained(trim(split(tiny(4), 2, 5), attention={1: "conv", 2: "conv"}))
    check_files(model, tmp_path)


def check_files(model, folder, sizes=((1, 2), (4, 9), (5, 21)), backends=("onnx", "openvino")):
    files = export(model, folder / "onnx")
    sessions = [open_backend(write(model, name, folder / "onnx"), name, threads=1) for name in backends]
    batches = [padded_batch(model, batch, n) for batch, n in sizes]
    # Padded on the left, but for windows: what padding reads far from all real tokens differs, and means nothing.
    if all(shape.window is None for shape in model.config.shapes):
        batches.append({name: value.flip(1) for name, value in batches[-1].items()})
    for inputs in batches:
        with torch.no_grad():
            expected = model(**inputs).logits
        for session in sessions:
            torch.testing.assert_close(torch.from_numpy(session.run(inputs)), expected, atol=1e-4, rtol=0)
    assert files[1].max_abs_error < 0.1 * files[1].largest_output  # int8: near, for no weights were mixed up


def parts_removed(family):
    """A whole layer, a conv, a mean and a full one with parts removed; in BERT another one with nothing left inside."""
    model = trained(trim(tiny(5 if family == "bert" else 4, family=family), attention={1: "conv", 2: "mean"}))
    gates = random_gates(model, sorted(set(points_of(model)) - {"layers"}), seed=3)
    for name in {"heads", "values", "query_key", "ffn"} & set(points_of(model)):
        getattr(gates, name)[0][:] = 1
    model = trim(model, gates)
    if family == "bert":
        shapes = model.config.shapes
        empty = [torch.full((shape.ffn,), float(index < 4)) for index, shape in enumerate(shapes)]
        model = trim(
            model, Gates(heads=[torch.full((s.heads,), float(i < 4)) for i, s in enumerate(shapes)], ffn=empty)
        )
        assert (model.config.shapes[4].attention, model.config.shapes[4].ffn) == ("bias", 0)
    return model


@pytest.mark.parametrize("family", OF_EACH_FORM)
def test_the_files_of_models_with_parts_removed(tmp_path, family):
    check_files(parts_removed(family), tmp_path)


def test_the_files_of_what_was_fitted_to_the_dense_model(tmp_path):
    """Everything that can stand in for attention, and a layer with parts removed."""
    kinds = {2 + index: kind for index, kind in enumerate(stand_ins())}
    dense = tiny(2 + len(kinds)).double()
    gates = random_gates(dense, ["heads", "ffn"], keep=1.0)
    gates.heads[1][0] = gates.ffn[1][::2] = 0
    model = trim(trim(dense, gates), attention=kinds)
    fitted = repair(model.encoder, dense.encoder, [padded_batch(dense, 16, n, seed=n) for n in (7, 12)], 0.01)
    left = [f"attention {layer}" for layer, kind in kinds.items() if kind != "none"]  # of that nothing is
    assert fitted == ["attention 1", "ffn 1", *left]
    check_files(model.float(), tmp_path, backends=("onnx",))


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["openvino-int8", "openvino-int4", "torch-export"])
@pytest.mark.parametrize("family", DISTINCT)
def test_the_other_files_are_near(tmp_path, family, backend):
    model = trained(trim(tiny(family=family), attention={0: "conv", 1: "mean"}))
    check_near(model, backend, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_the_archives_of_layers_that_hand_on_fewer_tokens(tmp_path, family):
    check_near(with_tokens(tiny(family=family), 0.7, 5), "torch-export", tmp_path)


def check_near(model, backend, tmp_path):
    session = open_backend(write(model, backend, tmp_path), backend, threads=1)
    errors, largest = [], 0.0
    for batch, n in [(1, 3), (4, 9), (5, 21)]:
        inputs = padded_batch(model, batch, n)
        with torch.no_grad():
            expected = model(**inputs).logits
        errors.append(float((torch.from_numpy(session.run(inputs)) - expected).abs().max()))
        largest = max(largest, float(expected.abs().max()))
    assert max(errors) < (1e-4 if backend == "torch-export" else 0.3) * largest
