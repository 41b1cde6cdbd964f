"""DAM: a mask of attention is learned with the weights, and is part of the shape in the end."""

import dataclasses

import pytest
import torch

from tests.learning import batches, context, make_method
from tests.models import FAMILY_NAMES
from trimformer import Gates, TrimformerError
from trimformer.encoder.checkpoints.load import load_with_head
from trimformer.methods import METHODS
from trimformer.methods.positions.masks import masked_layers
from trimformer.tasks.encoding.encoded import Encoded
from trimformer.training.loop import train

EVERY = [
    {"structure": structure, "special": special, "per_layer": per_layer}
    for structure in ("structured", "unstructured")
    for special in (False, True)
    for per_layer in (False, True)
]


def inputs(batch):
    return {name: value for name, value in batch.items() if name != "labels"}


def learned(stage, **settings):
    """A method whose α are anything."""
    method = make_method("dam", stage, **settings)
    torch.nn.init.normal_(method.masks.logits)
    method.model.eval()
    return method


@pytest.mark.parametrize("settings", EVERY, ids=str)
def test_the_sparse_model_gives_what_the_masked_dense_one_gives(settings):
    stage = context()
    method = learned(stage, **settings)
    left = method.result().model.eval()
    assert {shape.attention for shape in left.config.shapes} == {"sparse"}
    for batch in batches(stage, 3):
        n = batch["input_ids"].shape[1]
        masked = method.model(**inputs(batch), gates=method.gates(method.masks.settled(), n)).logits
        torch.testing.assert_close(left(**inputs(batch)).logits, masked, atol=1e-6, rtol=0)
        assert not torch.allclose(method.model(**inputs(batch)).logits, masked, atol=1e-4)


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_families(family):
    stage = context(family=family)
    if not masked_layers(stage.model.config):
        pytest.skip("this family has no full attention")
    alike = stage.model.config.sharing is not None
    method = learned(stage, per_layer=not alike)
    left, batch = method.result().model.eval(), inputs(batches(stage, 1)[0])
    masked = method.model(**batch, gates=method.gates(method.masks.settled(), batch["input_ids"].shape[1]))
    torch.testing.assert_close(left(**batch).logits, masked.logits, atol=1e-5, rtol=0)
    if alike:
        with pytest.raises(TrimformerError, match="leave per_layer out"):
            make_method("dam", stage, per_layer=True)


@pytest.mark.parametrize("structure", ["structured", "unstructured"])
def test_without_a_penalty_and_with_high_logits_it_is_the_dense_model(structure):
    stage = context()
    method = make_method("dam", stage, structure=structure, penalty=0)
    torch.nn.init.constant_(method.masks.logits, 20.0)
    batch = batches(stage, 1)[0]
    method.model.eval()
    gates = method.gates(method.masks(), batch["input_ids"].shape[1])
    masked = method.model(**inputs(batch), gates=gates).logits
    torch.testing.assert_close(masked, method.model(**inputs(batch)).logits, atol=1e-6, rtol=0)
    dense = method.objective(method.networks["model"], batch)
    torch.testing.assert_close(method.objective(method.networks["model"], batch, gates), dense, atol=1e-6, rtol=0)
    assert method.micro_step(batch, 1.0)["sparsity"] == 0


def test_padding_is_masked_beside_the_mask():
    stage = context()
    method = learned(stage, special=False)
    batch = inputs(batches(stage, 1)[0])
    n = batch["input_ids"].shape[1]
    longer = {name: torch.nn.functional.pad(value, (0, 12 - n)) for name, value in batch.items()}
    values = method.masks.settled()
    short = method.model(**batch, gates=method.gates(values, n)).logits
    torch.testing.assert_close(method.model(**longer, gates=method.gates(values, 12)).logits, short, atol=1e-6, rtol=0)


def test_a_single_real_token_without_the_diagonal_sees_itself():
    stage = context()
    method = make_method("dam", stage, special=False)
    method.masks.logits.data[:] = 1.0
    method.masks.logits.data[..., 0] = -1.0
    alone = {"input_ids": torch.tensor([[2, 0, 0]]), "attention_mask": torch.tensor([[1, 0, 0]])}
    method.model.eval()
    dense = method.model(**alone).logits
    assert dense.isfinite().all()
    for found in (
        method.model(**alone, gates=method.gates(method.masks.settled(), 3)).logits,
        method.result().model.eval()(**alone).logits,
    ):
        torch.testing.assert_close(found, dense, atol=1e-6, rtol=0)


def test_heads_without_a_position_are_defined_and_said():
    stage = context()
    method = make_method("dam", stage, special=False)
    method.masks.logits.data[:] = 1.0
    method.masks.logits.data[0, 1] = -1.0
    assert "1 of 2 heads keep no position, so that each gives the mean over real tokens." in method.notes()
    left = method.result().model.eval()
    assert left.config.shapes[0].own["pattern"]["offsets"][1] == []
    batch = inputs(batches(stage, 1)[0])
    n = batch["input_ids"].shape[1]
    masked = method.model.eval()(**batch, gates=method.gates(method.masks.settled(), n)).logits
    torch.testing.assert_close(left(**batch).logits, masked, atol=1e-6, rtol=0)
    other = make_method("dam", stage, special=True)
    other.masks.logits.data[:] = -1.0
    assert any("links the first token with the others" in note for note in other.notes())


def test_the_penalty_is_that_of_the_release_for_any_heads_and_length():
    """All positions kept cost λ · 12 · 128² = 9.83 with the release's λ."""
    for length in (5, 12):
        stage = context()
        stage = dataclasses.replace(stage, train=cut(stage.train, length))
        method = make_method("dam", stage, special=False)
        assert method.length == length
        every = torch.ones_like(method.masks.logits)
        assert method.weight * method.masks.total(every).item() == pytest.approx(9.83, abs=0.01)


def cut(rows: Encoded, length: int) -> Encoded:
    """The rows of at most so many tokens."""
    kept = [index for index, own in enumerate(rows.lengths) if own <= length]
    texts = [rows.ids[rows.offsets[index] : rows.offsets[index + 1]] for index in kept]
    ends = torch.tensor([0, *map(len, texts)]).cumsum(0).numpy()
    ids = torch.cat([torch.from_numpy(text) for text in texts]).numpy()
    return dataclasses.replace(rows, ids=ids, offsets=ends, labels=rows.labels[kept])


def test_where_attention_gives_nothing_the_penalty_alone_moves_the_masks():
    """Its gradient is λ times the positions of a value, times the derivative of the draw."""
    stage = context(layers=1)
    output = stage.model.encoder.layers[0].attention.output
    torch.nn.init.zeros_(output.weight)
    method = make_method("dam", stage, special=False)
    torch.manual_seed(5)
    u = torch.rand(1, 2, method.length)
    soft = torch.sigmoid(method.masks.logits.detach() + torch.log(u) - torch.log1p(-u))
    torch.manual_seed(5)
    method.micro_step(batches(stage, 1)[0], 1.0)
    n = method.length
    counts = torch.tensor([n, *(2 * (n - k) for k in range(1, n))])
    expected = 5e-5 * 12 * 128**2 / (2 * n * n) * counts * soft * (1 - soft)
    torch.testing.assert_close(method.masks.logits.grad, expected)


def test_the_masks_have_no_decay_and_a_rate_of_their_own():
    method = make_method("dam", context(), mask_learning_rate=0.02)
    groups = method.networks["masks"].optimizer.param_groups
    assert {group["weight_decay"] for group in groups} == {0.0}
    assert {group["lr"] for group in groups} == {0.02}
    assert {group["lr"] for group in make_method("dam", context()).networks["masks"].optimizer.param_groups} == {10 / 6}


def test_every_pass_of_the_training_draws_a_hard_mask():
    method, given = make_method("dam", context()), []
    before = method.objective

    def noted(model, batch, gates=None, target=None):
        given.append(gates.positions[0].detach().clone())
        return before(model, batch, gates, target)

    method.objective = noted
    batch = batches(method.context, 1)[0]
    for _ in range(4):
        method.micro_step(batch, 1.0)
    assert all(set(mask.unique().tolist()) <= {0.0, 1.0} for mask in given)
    assert not all(torch.equal(mask, given[0]) for mask in given)


def neighbours(rows: int, seed: int) -> Encoded:
    """Each word is labelled by whether the one before it is odd: of a distance of 1 alone."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, 50, (rows, 12), generator=generator)
    ids[:, 0] = 2
    labels = torch.full_like(ids, -100)
    labels[:, 2:] = ids[:, 1:-1] % 2
    made = context(kind="tokens").train
    offsets = (torch.arange(rows + 1) * 12).numpy()
    return dataclasses.replace(
        made, ids=ids.flatten().int().numpy(), offsets=offsets, labels=labels.flatten().numpy()
    )  # fmt: skip


def test_of_a_task_of_neighbours_the_distance_1_stays_and_the_others_go(tmp_path):
    stage = context(kind="tokens", layers=1, epochs=30, batch_size=32, learning_rate=3e-3, keep_best=False)
    data = neighbours(640, 1)
    stage = dataclasses.replace(stage, train=data, selection=data, steps=600)
    method = make_method("dam", stage, special=False, penalty=2e-5)
    train(method, data, stage.training, stage.accelerator, tmp_path, seed=0, title="toy")
    kept = method.masks.settled()[0]
    assert kept[:, 1].any()
    others = torch.cat([kept[:, :1], kept[:, 2:]], 1)
    assert others.mean() <= 0.1
    steps, shares = zip(*method.history.curves["sparsity"], strict=True)
    assert steps == tuple(range(1, 601))
    assert shares[-1] > shares[0]


def test_what_cannot_be_masked_is_refused_before_any_work():
    with pytest.raises(TrimformerError, match="No layer of this encoder has full attention"):
        make_method("dam", context(attention={0: "mean", 1: "none", 2: "mean"}))
    stage = context(attention={1: "mean"})
    method = learned(stage)
    assert method.masked == [0, 2]
    assert [shape.attention for shape in method.result().model.config.shapes] == ["sparse", "mean", "sparse"]
    assert any("layers 1 have no mask" in note for note in method.notes())


def test_learn_then_fine_tune_then_save_and_load(tmp_path):
    stage = context(kind="masked-lm")
    method = learned(stage)
    left = method.result().model
    again = dataclasses.replace(stage, model=left)
    tuned = make_method("finetune", again)
    train(tuned, again.train, again.training, again.accelerator, tmp_path / "work", seed=0, title="tune")
    model = tuned.result().model.eval()
    assert model.config.shapes == left.config.shapes
    model.save_pretrained(tmp_path / "model")
    loaded = load_with_head(tmp_path / "model").eval()
    batch = inputs(batches(stage, 1)[0])
    torch.testing.assert_close(loaded(**batch).logits, model(**batch).logits, atol=0, rtol=0)
    assert METHODS["dam"].after(method.settings, stage.model.config).shapes[0].attention == "sparse"
    assert Gates().positions is None
