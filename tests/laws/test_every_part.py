"""All laws for every part of the registries: a new one is under them without a change here."""

import copy
import dataclasses

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils import parametrize
from torch.utils.flop_counter import FlopCounterMode

from tests.models import (
    DISTINCT_FAMILIES,
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
from trimformer import Gates, TrimformerConfig, TrimformerError, cost, trim
from trimformer.encoder.model.exported import ExportedEncoder
from trimformer.encoder.parts.baked import bake
from trimformer.encoder.shape.kinds import ATTENTION, LAYERS, LINEAR, PATTERNS, POSITIONS, left_of, stand_ins


def with_kind(kind, family):
    """Three layers, the middle one of a kind that is made of full attention, with weights that matter."""
    model = tiny(family=family)
    return trained(model if kind == model.config.shapes[1].attention else trim(model, attention={1: kind}))


def with_pattern(pattern, family):
    """Three layers, the outer ones of which attend in a pattern."""
    wanted = {"kind": "sparse", "pattern": pattern}
    return trim(tiny(family=family), attention={0: wanted, 2: wanted})


ELIMINATING = {"shares": (0.7, 0.5), "numbers": (6, 4), "mean": (0.7,), "sparse": (6, 0.5)}


def with_elimination(case, family):
    """Three layers, the first of which hand on fewer tokens; beside a mean, or attending in a pattern."""
    model = tiny(family=family)
    if case == "mean":
        model = trim(model, attention={1: "mean"})
    if case == "sparse":
        model = with_pattern({"name": "longformer", "window": 4, "first": 1}, family)
    return with_tokens(model, *ELIMINATING[case])


def with_maps(kind, family):
    """Three layers, all maps of which are of a kind."""
    model = tiny(family=family)
    names = (*ATTENTION["full"].maps, *LAYERS[model.config.layer_kind].inner, "ffn_out")
    maps = {name: dict(LINEAR[kind].example) for name in names}
    shapes = [dataclasses.replace(shape, maps=maps).to_dict() for shape in model.config.shapes]
    config = TrimformerConfig.from_dict(model.config.to_dict() | {"layers": shapes})
    torch.manual_seed(1)
    return type(model)(config).eval()


PARTS = [(with_kind, kind) for kind in ATTENTION] + [(with_maps, kind) for kind in LINEAR]
PARTS += [(with_layers, kind) for kind in WITHOUT_FAMILY] + [(with_elimination, case) for case in ELIMINATING]
PARTS += [(with_pattern, {"name": name} | own) for name, kind in PATTERNS.items() for own in kind.examples]
every_part = pytest.mark.parametrize(
    ("make", "part"), PARTS, ids=[f"{f.__name__}-{k if isinstance(k, str) else k['name']}" for f, k in PARTS]
)
every_family = pytest.mark.parametrize("family", DISTINCT_FAMILIES)


def close(one, other, tolerance=1e-10):
    assert (one - other).abs().max() <= tolerance * max(1, other.abs().max())


@every_part
@every_family
def test_trimmed_equals_gated(make, part, family):
    model = make(part, family).double()
    batch = padded_batch(model)
    for seed, stand_in in enumerate(stand_ins()):
        attention = (torch.arange(model.config.num_hidden_layers) % 2 != seed % 2).float()
        inside = random_gates(model, points_of(model), seed)
        for gates in (Gates(attention=attention, removed=stand_in), inside, inside.replace(attention=attention)):
            if falls_heir(model, gates):
                with pytest.raises(TrimformerError, match="at one time"):
                    trim(model, gates)
                continue
            with torch.no_grad():
                close(trim(model, gates)(**batch).logits, model(**batch, gates=gates).logits)


def falls_heir(model, gates):
    """Whether a layer would get new weights that another layer of its group has trained already: trim refuses that."""
    if gates.attention is None or model.config.sharing is None or not ATTENTION[gates.removed].starts:
        return False
    kinds = [shape.attention for shape in model.config.shapes]
    off = [kind for kind, gate in zip(kinds, gates.attention, strict=True) if gate == 0]
    new = [kind for kind in off if left_of(kind, gates.removed) == gates.removed != kind]
    return bool(new) and gates.removed in kinds


@every_part
@every_family
def test_counted_equals_computed(make, part, family):
    model = make(part, family).requires_grad_(False)  # the counter follows gradients
    for n in (1, 12):
        # oneDNN's LSTM is one operator, which the counter does not look into.
        without = torch.backends.mkldnn.flags(enabled=False)
        with without, FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
            model(torch.randint(4, 50, (1, n)), torch.ones(1, n, dtype=torch.long))
        assert cost(model, n).flops == counter.get_total_flops()
    assert cost(model, 12).params == sum(weight.numel() for weight in model.parameters())


@every_part
@every_family
def test_padding_and_the_batch_change_nothing(make, part, family):
    model = make(part, family).double()
    batch = padded_batch(model)
    pad = model.config.pad_token_id
    longer = {name: F.pad(x, (0, 3), value=pad if name == "input_ids" else 0) for name, x in batch.items()}
    with torch.no_grad():
        together = model(**batch).logits
        close(model(**longer).logits, together)
        for row in range(4):
            n = int(batch["attention_mask"][row].sum())
            close(model(**{name: x[row : row + 1, :n] for name, x in batch.items()}).logits[0], together[row])


@every_part
@every_family
def test_saved_equals_loaded_and_exported_equals_pytorch(make, part, family, tmp_path):
    model = make(part, family)
    batch = padded_batch(model)
    model.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path).eval()
    with torch.no_grad():
        expected = model(**batch).logits
        assert torch.equal(loaded(**batch).logits, expected)
        for one in (model, model.encoder) if make != with_elimination else (model,):
            out = one(**batch)
            wanted = out.logits if one is model else out.last_hidden_state
            real = slice(None) if one is model else batch["attention_mask"].bool()
            close(ExportedEncoder(copy.deepcopy(one))(**batch)[real], wanted[real], 1e-5)


class Halved(nn.Module):
    def forward(self, weight):
        return weight / 2


@every_part
def test_baked_equals_parametrized_and_what_is_not_baked_is_refused(make, part, tmp_path):
    for family in ("bert", "albert"):
        model = make(part, family).double()
        batch = padded_batch(model)
        before = copy.deepcopy(model.state_dict())
        maps = {id(m): m for m in model.encoder.layers.modules() if isinstance(m, nn.Linear)}  # layers may share them
        if not maps:
            continue
        for module in maps.values():
            parametrize.register_parametrization(module, "weight", Halved())
        with torch.no_grad():
            expected = model(**batch).logits
            baked = bake(model)
            close(baked(**batch).logits, expected)
        assert set(baked.state_dict()) == set(before)
        assert parametrize.is_parametrized(next(iter(maps.values())))  # the model given is left as it was
        with pytest.raises(TrimformerError, match="still under a transformation"):
            trim(model, attention={})
        with pytest.raises(TrimformerError, match="still under a transformation"):
            model.save_pretrained(tmp_path)
        with pytest.raises(TrimformerError, match="still under a transformation"):
            ExportedEncoder(model)


def test_every_kind_says_what_it_can_become():
    for name, kind in ATTENTION.items():
        assert kind.about
        assert all(other in ATTENTION for other in (*kind.becomes, *kind.made_from, *kind.grown_from))
        assert all(left_of(name, other) == other for other in kind.becomes)
        assert left_of(name, name) == name


def test_every_family_has_its_kinds():
    for family in FAMILY_NAMES:
        config = tiny(family=family).config
        assert config.layer_kind in LAYERS
        assert config.attention_positions in POSITIONS
