"""Sparse attention: its answers by hand, rows without a key, its shape, its files, and what it becomes."""

import pytest
import torch

from tests.models import padded_batch, tiny
from trimformer import Gates, LayerShape, TrimformerError, cost, export, trim
from trimformer.deploy.writers import write
from trimformer.encoder.gating.reorder import reordered
from trimformer.encoder.gating.trim import parse_attention
from trimformer.encoder.parts.patterns.base import read
from trimformer.encoder.parts.tokens import Tokens
from trimformer.encoder.shape.kinds import PATTERNS
from trimformer.inference.runtimes.backends import open_backend
from trimformer.measure.device.pieces import plan

EXAMPLES = [{"name": name} | own for name, kind in PATTERNS.items() for own in kind.examples]
OFFSETS = {"name": "offsets", "offsets": [[0, 2], [1]]}


def sparse(model, pattern, *layers):
    """The model with a pattern in these layers; in all where none is given."""
    wanted = {"kind": "sparse", "pattern": pattern}
    return trim(model, attention=dict.fromkeys(layers or range(model.config.num_hidden_layers), wanted))


def by_hand(layer, x, mask, pattern):
    """The output of a layer of BERT's attention, query by query, over the keys that are kept and real."""
    kept = read(pattern).allowed(x.shape[1], layer.heads, x.device).expand(layer.heads, -1, -1)
    query, key, value = (layer.split(part(x)) for part in (layer.query, layer.key, layer.value))
    context = torch.zeros_like(query)
    for text, head, i in torch.cartesian_prod(*map(torch.arange, query.shape[:3])).tolist():
        real = mask[text].bool()
        keys = kept[head, i] & real
        if keys.any():
            weights = (key[text, head, keys] @ query[text, head, i] * layer.scale).softmax(0)
            context[text, head, i] = weights @ value[text, head, keys]
        else:
            context[text, head, i] = value[text, head, real].mean(0)
    return layer.output(context.transpose(1, 2).flatten(2))


@pytest.mark.parametrize("pattern", EXAMPLES, ids=lambda pattern: pattern["name"])
@pytest.mark.parametrize("asked", [None, 1])
def test_each_query_attends_to_the_keys_that_are_kept(pattern, asked):
    layer = sparse(tiny(1).double(), pattern).encoder.layers[0].attention
    torch.manual_seed(0)
    x, mask = torch.randn(3, 9, 16).double(), (torch.arange(9) < torch.tensor([[9], [6], [1]])).long()
    with torch.no_grad():
        found = layer(x, Tokens(x, mask).ask(asked))
        expected = by_hand(layer, x, mask, pattern)[:, :asked]
    real = mask[:, :asked].bool()
    torch.testing.assert_close(found[real], expected[real], atol=1e-12, rtol=0)
    assert found.isfinite().all()


@pytest.mark.parametrize("pattern", [{"name": "no-diagonal"}, {"name": "offsets", "offsets": [[], [5]]}], ids=str)
def test_one_real_token_whose_key_is_not_kept_falls_back_to_itself(pattern):
    full = tiny().double()
    ids, mask = torch.tensor([[7, 0, 0]]), torch.tensor([[1, 0, 0]])
    with torch.no_grad():
        for given in ((ids, mask), (ids[:, :1], mask[:, :1]), (ids[:, :1], None)):
            torch.testing.assert_close(sparse(full, pattern)(*given).logits, full(*given).logits)


@pytest.mark.parametrize("pattern", [{"name": "star"}, {"name": "offsets", "offsets": [[], [5]]}], ids=str)
def test_a_text_of_padding_alone_gives_numbers(pattern):
    model = sparse(tiny(), pattern)
    with torch.no_grad():
        assert model(torch.zeros(1, 3, dtype=torch.long), torch.zeros(1, 3, dtype=torch.long)).logits.isfinite().all()


def test_a_head_that_keeps_nothing_is_a_mean_and_all_kept_is_full_attention():
    model, batch = tiny().double(), padded_batch(tiny())
    with torch.no_grad():
        mean = trim(model, attention={1: "mean"})(**batch).logits
        nothing = sparse(model, {"name": "offsets", "offsets": [[], []]}, 1)
        torch.testing.assert_close(nothing(**batch).logits, mean, atol=1e-12, rtol=0)
        every = sparse(model, {"name": "offsets", "offsets": [list(range(40))] * 2})
        torch.testing.assert_close(every(**batch).logits, model(**batch).logits, atol=1e-12, rtol=0)


@pytest.mark.parametrize("family", ["modernbert", "mpnet", "deberta-v2"])
def test_positions_enter_as_they_do_in_full_attention(family):
    """A window is a pattern: it gives what a full layer with that window gives."""
    model = tiny(family=family).double()
    shapes = [layer | {"window": 4} for layer in model.config.layers]
    windowed = type(model)(type(model.config).from_dict(model.config.to_dict() | {"layers": shapes})).double().eval()
    windowed.load_state_dict(model.state_dict())
    ours = sparse(windowed, {"name": "window", "window": 4})
    assert all(shape.window is None for shape in ours.config.shapes)
    batch = padded_batch(model)
    with torch.no_grad():
        torch.testing.assert_close(ours(**batch).logits, windowed(**batch).logits, atol=1e-10, rtol=0)


def test_gates_on_positions_are_met_with_the_pattern():
    model = sparse(tiny().double(), OFFSETS)
    batch, every = padded_batch(model), Gates(positions=torch.ones(3, 4, 1, 9, 9))
    none = Gates(positions=torch.zeros(3, 4, 1, 9, 9))
    with torch.no_grad():
        torch.testing.assert_close(model(**batch, gates=every).logits, model(**batch).logits)
        means = trim(model, attention=dict.fromkeys(range(3), "mean"))
        torch.testing.assert_close(model(**batch, gates=none).logits, means(**batch).logits)
        assert [shape.attention for shape in trim(model, none).config.shapes] == ["mean"] * 3


def test_it_stands_in_for_full_attention_with_the_pattern_that_it_has_by_default():
    model = tiny(max_position_embeddings=200).double()
    gates = Gates(attention=torch.tensor([1.0, 0.0, 0.0]), removed="sparse")
    smaller, batch = trim(model, gates), padded_batch(model, n=100)
    assert [shape.attention for shape in smaller.config.shapes] == ["full", "sparse", "sparse"]
    assert smaller.config.shapes[1].own["pattern"] == {"name": "longformer", "window": 128, "first": 1}
    with torch.no_grad():
        difference = smaller(**batch).logits - model(**batch, gates=gates).logits
        assert difference.abs().max() < 1e-10
        assert (smaller(**batch).logits - model(**batch).logits).abs().max() > 1e-6  # 100 tokens are beyond the window


def test_shapes():
    assert sparse(tiny(), OFFSETS, 1).config.format_version == 2
    assert set(sparse(tiny(), OFFSETS).state_dict()) == set(tiny().state_dict())  # no weight is new
    again = sparse(sparse(tiny(), OFFSETS, 1), {"name": "star"}, 1)
    assert again.config.shapes[1].own == {"pattern": {"name": "star"}}
    for kind in ("mean", "bias", "none", "conv", "gaussian"):
        assert trim(again, attention={1: kind}).config.shapes[1].own.get("pattern") is None
    assert trim(tiny(), attention={0: "sparse-star"}).config.shapes[0].own == {"pattern": {"name": "star"}}
    assert parse_attention("0-1=sparse-no-diagonal") == {0: "sparse-no-diagonal", 1: "sparse-no-diagonal"}
    with pytest.raises(TrimformerError, match="does not have the weights to become 'sparse'"):
        sparse(trim(tiny(), attention={1: "mean"}), OFFSETS, 1)
    with pytest.raises(TrimformerError, match="cannot become 'sparse-windw': Unknown pattern"):
        trim(tiny(), attention={0: "sparse-windw"})
    with pytest.raises(TrimformerError, match="cannot become 'sparse': A pattern is a name with its settings"):
        sparse(tiny(), {}, 0)
    with pytest.raises(TrimformerError, match="Attention of kind sparse has no 'patern'"):
        trim(tiny(), attention={0: {"kind": "sparse", "patern": {}}})
    with pytest.raises(TrimformerError, match="no window beside their pattern"):
        LayerShape("sparse", 2, 8, 24, window=4, own={"pattern": {"name": "star"}})


@pytest.mark.parametrize("family", ["bert", "mpnet"])
def test_heads_take_their_offsets_with_them_wherever_they_go(family):
    model = sparse(tiny(family=family).double(), OFFSETS)
    batch = padded_batch(model)
    order = [torch.tensor([1, 0])] * 3
    turned = reordered(model, order, [torch.arange(24)] * 3)
    assert turned.config.shapes[0].own["pattern"]["offsets"] == [[1], [0, 2]]
    left = trim(model, Gates(heads=[torch.tensor([0.0, 1.0])] * 3))
    assert left.config.shapes[2].own["pattern"]["offsets"] == [[1]]
    with torch.no_grad():
        torch.testing.assert_close(turned(**batch).logits, model(**batch).logits, atol=1e-10, rtol=0)


def test_what_is_computed_is_counted_and_timed_as_a_piece_of_models_that_have_it():
    model = sparse(tiny(), OFFSETS)
    assert cost(model, 12) == cost(tiny(), 12)  # the scores are computed in full
    assert ("sparse/8", 2) in plan(model.config, reads_first=True)
    model = sparse(tiny(), {"name": "longformer", "window": 4})  # by blocks where a text is long
    assert ("sparse/8 within 2 and 1 first", 2) in plan(model.config, reads_first=True)
    assert not any(name.startswith("sparse") for name, _ in plan(tiny().config, reads_first=True))


def test_the_files_of_every_pattern_give_the_same_logits(tmp_path):
    model = tiny(len(EXAMPLES), max_position_embeddings=320)
    wanted = {index: {"kind": "sparse", "pattern": pattern} for index, pattern in enumerate(EXAMPLES)}
    model = trim(model, attention=wanted)
    export(model, tmp_path, precision=["fp32"])
    sessions = [open_backend(write(model, name, tmp_path), name, threads=1) for name in ("onnx", "openvino")]
    for batch, n in [(1, 2), (4, 9), (2, 300)]:
        inputs = padded_batch(model, batch, n)
        with torch.no_grad():
            expected = model(**inputs).logits
        for session in sessions:
            torch.testing.assert_close(torch.from_numpy(session.run(inputs)), expected, atol=1e-4, rtol=0)
