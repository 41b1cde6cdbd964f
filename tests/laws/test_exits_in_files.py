"""Laws of models with exits in their exported files: as in PyTorch, alone as in a batch, and as they were saved."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests import fresh
from tests.encoder.test_exits import KINDS, exits, first_layer_attends, midst, with_exits
from tests.models import DISTINCT_FAMILIES, padded_batch, with_tokens
from trimformer import export
from trimformer.deploy.writers import write
from trimformer.inference.runtimes.backends import FILE_BACKENDS, open_backend
from trimformer.saved.exits import RULES


def midway(kind="classification", family="bert", rule="entropy", layers=4, after=(0, 1, 2)):
    """A model some of whose texts leave early, and a batch of such texts."""
    more = {"tolerance": 0.5} if kind == "regression" else {}
    rule = "patience" if kind == "regression" else rule
    model: Any = with_exits(kind, exits(rule, 1, after=after, **more), family, layers)
    batch = padded_batch(model, 8, 21)
    if rule == "entropy":
        model.config.exits["threshold"] = (midst if len(after) > 1 else first_half)(model, batch)
    return model, batch


def first_half(model, batch):
    """Half of the rows are sure at the only exit."""
    from trimformer.saved.exits import ANSWERS

    with torch.no_grad():
        entropy = ANSWERS[model.kind].entropy(model(**batch, output_exits=True).exit_logits[0].numpy())
    return float(sorted(entropy)[3] + sorted(entropy)[4]) / 2


def close(found, expected, batch, atol=1e-4):
    real = batch["attention_mask"].bool() if expected.ndim == 3 else slice(None)
    torch.testing.assert_close(torch.from_numpy(found)[real], expected[real], atol=atol, rtol=0)


def executed(session, batch):
    """How many layers each row goes through, asked alone."""
    found = []
    for row in range(len(batch["input_ids"])):
        n = int(batch["attention_mask"][row].sum())
        session.run({name: value[row : row + 1, :n] for name, value in batch.items()})
        found.append(1 + session.executed.take().index(1))
    return found


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("family", DISTINCT_FAMILIES)
@pytest.mark.parametrize("kind", KINDS)
def test_exported_equals_pytorch(kind, family, rule, tmp_path):
    model, batch = midway(kind, family, rule)
    session = open_backend(write(model, "onnx", tmp_path, quick=True), "onnx", threads=1)
    with torch.no_grad():
        expected, every = model(**batch), model(**batch, output_exits=True)
    close(session.run(batch), expected.logits, batch)
    assert sum(session.executed.take()) == len(expected.executed)
    assert executed(session, batch) == expected.executed.tolist()
    for found, wanted in zip(session.run_through(batch), [*every.exit_logits, every.logits], strict=True):
        close(found, wanted, batch)
    assert (kind, rule) != ("classification", "entropy") or len(set(expected.executed.tolist())) > 1


def test_exported_equals_pytorch_above_the_last_layer_that_mixes_tokens(tmp_path):
    model = first_layer_attends()
    batch = padded_batch(model, 8, 21)
    model.config.exits["threshold"] = midst(model, batch)
    session = open_backend(write(model, "onnx", tmp_path, quick=True), "onnx", threads=1)
    with torch.no_grad():
        expected, every = model(**batch), model(**batch, output_exits=True)
    close(session.run(batch), expected.logits, batch)
    for found, wanted in zip(session.run_through(batch), [*every.exit_logits, every.logits], strict=True):
        close(found, wanted, batch)


def test_the_files_that_users_get(tmp_path):
    model, batch = midway(layers=2, after=(0,))
    (fp32,) = export(model, tmp_path, precision=["fp32"])
    assert fp32.path.name == "model.1-of-2.onnx"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.1-of-2.onnx", "model.2-of-2.onnx"]
    assert fp32.bytes == sum(path.stat().st_size for path in tmp_path.glob("*.onnx"))
    session = open_backend(fp32.path, "onnx", threads=1)
    with torch.no_grad():
        expected = model(**batch)
    close(session.run(batch), expected.logits, batch)
    assert session.executed.take() == [4, 4]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


@pytest.mark.parametrize("backend", [name for name in FILE_BACKENDS if name != "torch-export"])
def test_a_text_alone_and_beside_longer_ones(folder, backend):
    """In the precisions that round, too: the rule then asks numbers that are far from its threshold."""
    model, batch = midway(layers=2, after=(0,))
    session = open_backend(write(model, backend, folder, quick=True), backend, threads=1)
    together = torch.from_numpy(session.run(batch))
    early, all_layers = session.executed.take()
    assert min(early, all_layers) > 0
    rough = FILE_BACKENDS[backend].precision in ("bf16", "int4")
    allowed = (0.03 if rough else 1e-3) * float(together.abs().max())
    for row in range(len(together)):
        n = int(batch["attention_mask"][row].sum())
        alone = session.run({name: value[row : row + 1, :n] for name, value in batch.items()})
        torch.testing.assert_close(torch.from_numpy(alone)[0], together[row], atol=allowed, rtol=0)
    assert session.executed.take() == [early, all_layers]


def answer(home: Path) -> None:
    """The logits of the saved files for the saved batch, into a file beside them."""
    session = open_backend(home / "model.1-of-2.onnx", "onnx", threads=1)
    logits = session.run(torch.load(home / "batch.pt", weights_only=True))
    torch.save((torch.from_numpy(logits), session.executed.take()), home / "logits.pt")


def test_saved_files_answer_in_a_fresh_process(tmp_path):
    model, batch = midway(layers=2, after=(0,))
    session = open_backend(write(model, "onnx", tmp_path, quick=True), "onnx", threads=1)
    torch.save(batch, tmp_path / "batch.pt")
    fresh.finished(answer, tmp_path)
    logits, counts = torch.load(tmp_path / "logits.pt", weights_only=True)
    assert torch.equal(logits, torch.from_numpy(session.run(batch)))
    assert counts == session.executed.take()


@pytest.fixture(scope="module")
def fewer(tmp_path_factory):
    """Layers hand on fewer tokens before and after the exit, as a share of the text and as a number."""
    model: Any = with_tokens(with_exits("classification", exits(after=(0,), reads="head"), "bert", 3), 0.7, 5)
    batch = padded_batch(model, 8, 21)
    model.config.exits["threshold"] = first_half(model, batch)
    return model, batch, tmp_path_factory.mktemp("fewer")


@pytest.mark.slow
@pytest.mark.parametrize(
    "backend", [name for name, file in FILE_BACKENDS.items() if name != "torch-export" and file.precision != "int4"]
)
def test_where_layers_hand_on_fewer_tokens(fewer, backend):
    """The files that users get, beside PyTorch where they do not round, and each text alone as in the batch."""
    model, batch, home = fewer
    session = open_backend(write(model, backend, home), backend, threads=1)
    together = session.run(batch)
    with torch.no_grad():
        expected, every = model(**batch), model(**batch, output_exits=True)
    assert session.executed.take() == [4, 0, 4]
    assert sorted(set(expected.executed.tolist())) == [1, 3]
    if FILE_BACKENDS[backend].precision == "fp32":
        close(together, expected.logits, batch)
        assert executed(session, batch) == expected.executed.tolist()
        for found, wanted in zip(session.run_through(batch), [*every.exit_logits, every.logits], strict=True):
            close(found, wanted, batch)
    allowed = 0.03 if FILE_BACKENDS[backend].precision == "bf16" else 1e-3
    for row, n in enumerate(batch["attention_mask"].sum(1).tolist()):
        alone = session.run({name: value[row : row + 1, :n] for name, value in batch.items()})
        close(alone[0], torch.from_numpy(together[row]), batch, atol=allowed * float(abs(together).max()))


@pytest.mark.slow
@pytest.mark.parametrize("family", ["deberta-v2", "mpnet"])
def test_what_is_left_stays_where_it_was_in_the_text(family, tmp_path):
    model: Any = with_tokens(
        with_exits("classification", exits("patience", 9, after=(0,), reads="head"), family, 3), 0.7, 5
    )
    batch = padded_batch(model, 8, 21)
    session = open_backend(write(model, "onnx", tmp_path), "onnx", threads=1)
    with torch.no_grad():
        every = model(**batch, output_exits=True)
    for found, wanted in zip(session.run_through(batch), [*every.exit_logits, every.logits], strict=True):
        close(found, wanted, batch)
