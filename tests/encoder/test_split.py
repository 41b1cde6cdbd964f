"""The first layers see each text of a pair by itself: the same as one mask over both texts, whatever stands beside."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.command import trimformer
from tests.models import FAMILY_NAMES, padded_batch, points_of, random_gates, tiny, trained, with_layers
from trimformer import Gates, TrimformerConfig, TrimformerError, cost, load, trim
from trimformer.encoder.parts.apart import numbers
from trimformer.encoder.parts.norms import normed
from trimformer.encoder.parts.tokens import Tokens
from trimformer.encoder.shape.kinds import LAYERS
from trimformer.methods.structure.deformer import split, split_config

KINDS: list[dict[int, Any]] = [
    {},
    {0: "mean"},
    {0: "conv", 1: "mean"},
    {0: "none", 2: "mean"},
    {0: {"kind": "sparse", "pattern": {"name": "window", "window": 2}}, 1: "gaussian"},
    {2: "none"},
]


def pairs(model: Any, batch: int = 4, n: int = 11) -> dict[str, Tensor]:
    """As data have them: the first text's tokens, then the second's, then padding; texts of other lengths in each."""
    given = padded_batch(model, batch, n)
    first = torch.arange(batch)[:, None] % 4 + 2
    types = (torch.arange(n)[None] >= first).long() * given["attention_mask"]
    return given | {"token_type_ids": types}


class Blocks(Tokens):
    """Tokens that attend to those of their own segment alone."""

    def __init__(self, x: Tensor, mask: Tensor, types: Tensor) -> None:
        super().__init__(x, mask)
        self.own = (types[:, :, None] == types[:, None])[:, None]

    def _mask(self, query: Tensor, key: Tensor, bias: Tensor | None, window: int | None) -> Tensor:
        return self.own & self.keys | torch.eye(key.shape[-2], dtype=torch.bool)


def block_masked(model: Any, batch: dict[str, Tensor]) -> Tensor:
    """The logits where the lower layers see both texts at once, through a mask with a block for each."""
    body, mask = model.encoder, batch["attention_mask"]
    x = body.embeddings(batch["input_ids"], batch["token_type_ids"])
    apart, joint = Blocks(x, mask, batch["token_type_ids"]), Tokens(x, mask)
    for index, layer in enumerate(body.layers):
        x, _ = layer(x, apart if index < model.config.split_layers else joint)
    logits: Tensor = model.head(normed(body.norm, x, None), mask)
    return logits


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("start", [0, 3])
@pytest.mark.parametrize("make", [pairs, padded_batch], ids=["pairs", "mixed"])
def test_texts_apart_equal_a_mask_with_a_block_for_each(layers: int, start: int, make: Any) -> None:
    model = split(tiny().double(), layers, start)
    batch = make(model)
    with torch.no_grad():
        expected = block_masked(model, batch)
        torch.testing.assert_close(model(**batch).logits, expected, atol=1e-10, rtol=0)
        joint = type(model)(TrimformerConfig.from_dict(model.config.to_dict() | {"split_layers": 0})).double().eval()
        joint.load_state_dict(model.state_dict())
        assert not torch.allclose(joint(**batch).logits, expected, atol=1e-3)  # the mask matters


@pytest.mark.parametrize("kinds", KINDS, ids=str)
@pytest.mark.parametrize(("layers", "start"), [(1, 0), (2, 0), (2, 5)])
def test_the_states_of_a_text_do_not_depend_on_the_other(kinds: dict[int, Any], layers: int, start: int) -> None:
    model = trained(trim(split(tiny().double(), layers, start), attention=kinds))
    batch = pairs(model)
    types, real = batch["token_type_ids"], batch["attention_mask"].bool()
    with torch.no_grad():
        before = model(**batch, output_hidden_states=True)
        for text in (0, 1):
            own = (types == text) & real
            other = batch | {"input_ids": batch["input_ids"].where(own | ~real, 5)}
            after = model(**other, output_hidden_states=True)
            for index in range(layers + 1):
                torch.testing.assert_close(
                    after.hidden_states[index][own], before.hidden_states[index][own], atol=1e-12, rtol=0
                )
            for row in range(len(types)):  # nor on being in a pair, nor on its place in the row
                places = own[row].nonzero().flatten()
                if len(places):
                    alone = model.encoder.lower(
                        batch["input_ids"][row : row + 1, places], None, types[row : row + 1, places]
                    )
                    torch.testing.assert_close(alone[0], before.hidden_states[layers][row, places], atol=1e-10, rtol=0)
        torch.testing.assert_close(before.logits, model(**batch).logits, atol=1e-10, rtol=0)


@pytest.mark.parametrize("kind", ["bilstm", "cnn"])
def test_layers_without_attention_see_their_own_text_alone(kind: str) -> None:
    layers = [LAYERS[kind].examples[0].to_dict()] * 2
    model = split(with_layers(kind, layers=layers).double(), 1)
    batch = pairs(model)
    own = (batch["token_type_ids"] == 1) & batch["attention_mask"].bool()
    other = batch | {"input_ids": batch["input_ids"].where(own | ~batch["attention_mask"].bool(), 5)}
    with torch.no_grad():
        states = [model(**given, output_hidden_states=True).hidden_states[1][own] for given in (batch, other)]
    torch.testing.assert_close(*states, atol=1e-12, rtol=0)


@pytest.mark.parametrize("kinds", KINDS, ids=str)
def test_known_states_take_the_place_of_the_lower_layers(kinds: dict[int, Any]) -> None:
    model = trained(trim(split(tiny().double(), 2), attention=kinds))
    batch = pairs(model)
    with torch.no_grad():
        lower = model.encoder.lower(**batch)
        torch.testing.assert_close(
            model(**batch, known_states=(lower, lower)).logits, model(**batch).logits, atol=1e-10, rtol=0
        )


@pytest.mark.parametrize("kinds", KINDS, ids=str)
def test_padding_and_other_rows_change_nothing(kinds: dict[int, Any]) -> None:
    model = trained(trim(split(tiny().double(), 2, 4), attention=kinds))
    batch = pairs(model)
    longer = {name: F.pad(value, (0, 5), value=0) for name, value in batch.items()}
    with torch.no_grad():
        together = model(**batch).logits
        torch.testing.assert_close(model(**longer).logits, together, atol=1e-10, rtol=0)
        for row in range(4):
            n = int(batch["attention_mask"][row].sum())
            alone = model(**{name: value[row : row + 1, :n] for name, value in batch.items()}).logits
            torch.testing.assert_close(together[row], alone[0], atol=1e-10, rtol=0)


def test_a_text_alone_and_rows_of_padding_give_numbers() -> None:
    model = split(tiny(), 2, 4)
    batch = pairs(model)
    nothing = batch | {"attention_mask": torch.zeros_like(batch["attention_mask"])}
    with torch.no_grad():
        assert model(**nothing).logits.isfinite().all()
        plain = tiny()(batch["input_ids"], batch["attention_mask"]).logits  # of one text the split knows nothing
        torch.testing.assert_close(model(batch["input_ids"], batch["attention_mask"]).logits, plain)


@pytest.mark.parametrize("layers", [1, 2])
def test_trimmed_equals_gated(layers: int) -> None:
    model = trained(trim(split(tiny(4).double(), layers, 4), attention={0: "conv"}))
    batch = pairs(model)
    for seed in range(4):
        gates = random_gates(model, points_of(model), seed, keep=0.8)
        gates.given["layers"][-1] = 1
        trimmed = trim(model, gates)
        assert trimmed.config.split_layers == int(gates.layers[:layers].sum())
        with torch.no_grad():
            torch.testing.assert_close(trimmed(**batch).logits, model(**batch, gates=gates).logits, atol=1e-10, rtol=0)


def test_gates_of_pairs_of_tokens_are_refused_below() -> None:
    model = split(tiny(), 2)
    batch = pairs(model)
    kept = torch.ones(4, 1, 11, 11, dtype=torch.bool)
    with torch.no_grad():
        model(**batch, gates=Gates(positions=[None, None, kept]))
        with pytest.raises(TrimformerError, match="from 2 on alone"):
            model(**batch, gates=Gates(positions=[kept, None, None]))


@pytest.mark.parametrize("kinds", KINDS, ids=str)
@pytest.mark.parametrize("first", [1, 4])
def test_cost_is_what_is_computed(kinds: dict[int, Any], first: int) -> None:
    model, n = trained(trim(split(tiny(), 2), attention=kinds)).requires_grad_(False), 12
    ids, mask = torch.randint(4, 50, (1, n)), torch.ones(1, n, dtype=torch.long)
    types = (torch.arange(n) >= first).long()[None]

    def counted(*given: Any, call: Any = model, **options: Any) -> int:
        with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
            call(*given, **options)
        return int(counter.get_total_flops())

    assert counted(ids, mask, types) == cost(model, n, first=first).flops
    assert counted(ids, mask) == cost(model, n).flops
    states = (model.encoder.lower(ids, mask, types),) * 2
    question = counted(ids[:, :first], mask[:, :first], types[:, :first], call=model.encoder.lower)
    upper = counted(ids, mask, types, known_states=states)
    assert question + upper == cost(model, n, first=first, cached=True).flops


def test_positions_are_those_of_each_text() -> None:
    types = torch.tensor([[0, 0, 0, 1, 1, 0], [1, 1, 0, 0, 1, 1], [0, 0, 0, 0, 1, 1]])
    real = torch.tensor([[1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1]]).bool()
    assert numbers(types, real, 0, 9).tolist() == [[0, 1, 2, 0, 1, 2], [0, 1, 0, 1, 2, 3], [0, 0, 0, 1, 0, 1]]
    assert numbers(types, real, 7, 9).tolist() == [[0, 1, 2, 7, 8, 2], [7, 8, 0, 1, 8, 8], [0, 0, 0, 1, 7, 8]]


def test_a_passage_that_starts_where_it_stood_keeps_its_states() -> None:
    """Numbered as in the pair that the encoder was trained on, the texts have the embeddings that they had there."""
    model = tiny().double()
    batch = pairs(model, batch=2)
    first = 2  # tokens of the first row's first text
    row = {name: value[:1] for name, value in batch.items()}
    inputs = row["input_ids"], row["token_type_ids"]
    with torch.no_grad():
        before = model.encoder.embeddings(*inputs)
        torch.testing.assert_close(split(model, 2, first).encoder.embeddings(*inputs), before, atol=1e-12, rtol=0)
        assert not torch.allclose(split(model, 2, 0).encoder.embeddings(*inputs), before, atol=1e-3)


def test_saved_equals_loaded(tmp_path: Any) -> None:
    model = split(tiny(), 2, 3)
    model.save_pretrained(tmp_path)
    again = load(tmp_path)
    batch = pairs(model)
    assert (again.config.split_layers, again.config.passage_start) == (2, 3)
    with torch.no_grad():
        assert torch.equal(again(**batch).logits, model(**batch).logits)


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_families_that_cannot_are_refused(family: str) -> None:
    config = tiny(family=family).config
    if family in ("bert", "electra", "albert"):
        assert split_config(config, 2).split_layers == 2
    else:
        with pytest.raises(TrimformerError, match="choose a model with"):
            split_config(config, 2)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"split_layers": 3}, "at least the last one must see both"),
        ({"split_layers": -1}, "set it to 0 to 2"),
        ({"positions": "absolute"}, "numbered by_segment"),
        ({"passage_start": -1}, "set it to 0 to "),
        ({"passage_start": 10**6}, "set it to 0 to "),
        ({"positions": "absolute", "split_layers": 0, "passage_start": 3}, "set it to 0[.]"),
        ({"type_vocab_size": 1}, "numbered by_segment"),
        ({"exits": {"after": [0], "rule": "entropy", "threshold": 0}}, "cannot have exits"),
    ],
    ids=["all", "negative", "absolute", "before", "behind", "unnumbered", "one-segment", "exits"],
)
def test_shapes_that_are_none_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(TrimformerError, match=said):
        TrimformerConfig.from_dict(split_config(tiny().config, 2).to_dict() | changes)


def test_layers_that_hand_on_fewer_tokens_are_refused() -> None:
    config = split_config(tiny().config, 1)
    shapes = [*config.shapes[:-1], dataclasses.replace(config.shapes[-1], tokens=3)]
    with pytest.raises(TrimformerError, match="cannot have layers that hand on fewer tokens"):
        config.with_shapes(shapes)


def test_a_stock_model_it_is_not() -> None:
    from trimformer.encoder.checkpoints.families import FAMILIES

    with pytest.raises(TrimformerError, match="numbers the tokens of each text"):
        FAMILIES["bert"].to_stock(split(tiny(), 1))


def test_inspect_says_which_layers_are_split(tmp_path: Path) -> None:
    split(tiny(), 1, 4).save_pretrained(tmp_path)
    shown = " ".join(trimformer("inspect", tmp_path).out.split())
    assert "The first 1 layers see each text of a pair by itself, the second one numbered from 4 on." in shown
