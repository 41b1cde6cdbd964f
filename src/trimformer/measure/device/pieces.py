"""How a table of the device is measured: small whole models that differ by one piece, taking turns.

Runtimes fuse and rearrange, so that a piece alone would tell little. The time of a layer is therefore what a model
takes longer with four copies of it; that of attention, what such a layer takes longer than one without; and that of
what comes once, at the end of a model, a difference of models of one layer.
"""

from __future__ import annotations

import dataclasses
import itertools
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import torch

from ...console import Ticker
from ...encoder import LayerShape, TrimformerConfig, TrimformerModel, TrimformerWithHead
from ...encoder.checkpoints.load import load
from ...encoder.parts.measured import knots
from ...encoder.shape.kinds import ATTENTION, LAYERS
from ...errors import TrimformerError
from ...files import require_regular
from ...threads import torch_threads
from ..bench.latency import make_workloads, time_variants
from ..bench.variants import COMPILED, STOCK, Variant, available_backends, check_backends, make_variants
from .lengths import find, rungs
from .table import (
    FIRST,
    LatencyTable,
    Model,
    Way,
    added,
    common_maps,
    default_file,
    fitting,
    frame_of,
    read_tables,
    with_maps,
    write_tables,
)

COPIES = 4
WORDS = 1000
REPEATS, SECONDS = 20, 5.0
COARSE_REPEATS, COARSE_SECONDS = 10, 1.0
MEAN = "mean"
"""What every method can put in the place of attention: a coarse table has it beside the kinds of the model."""

Key = tuple[str, int]
"""A piece and its size."""
BASE, REST = ("base", 0), ("rest", 0)
"""The model without the four copies, with all tokens computed, and as it is under the head."""


def latency_tables(
    model: str | Path | Model,
    *,
    batch: Sequence[int] = (1, 8),
    length: Sequence[int] = (128,),
    threads: int = 2,
    backends: Sequence[str] | None = None,
    file: str | Path | None = None,
    coarse: bool = False,
) -> list[LatencyTable]:
    """Tables of this machine for each back-end, batch and length; what the file lacks is measured and added to it.

    model: the tables predict it whatever becomes of its layers, as long as none is larger than its largest.
    length: powers of two, and the most that the model takes, are measured; what is between is interpolated, so that
    texts of other lengths find the table there.
    backends: None = all that are installed here and run any shape, except compilers. file: None = one in the user's
    cache folder. It is written after each table, so that a run that is cut loses little.
    coarse: measure in about half of the time, and less exactly, what is not known: the ends of each curve, the model's
    own kinds of attention and the mean. Full tables that are there are used, and take the place of coarse ones later.

    Raises TrimformerError for a model with exits, for a back-end that is unknown, cannot run here or runs stock models
    only, for a length that the model cannot take, for layers that no table can tell apart, and as
    :func:`trimformer.measure.device.table.read_tables` does.
    """
    net = load(model) if isinstance(model, str | Path) else model
    frame_of(net.config)
    if net.config.exits is not None:
        raise TrimformerError(
            "The model has exits, and a table predicts what whole layers cost: time the model itself, on texts."
        )
    sizes = list(itertools.product(batch, length))
    if not sizes or min(threads, *itertools.chain(*sizes)) < 1:
        raise TrimformerError("Give batch sizes, lengths and threads of at least 1.")
    if max(length) > net.config.max_tokens:
        raise TrimformerError(f"The model takes at most {net.config.max_tokens} tokens, not {max(length)}.")
    names = [name for name in available_backends() if name not in (*STOCK, *COMPILED)] if backends is None else backends
    check_backends(names)
    if stock := [name for name in names if name in STOCK]:
        raise TrimformerError(f"{stock[0]} runs dense models only, so that no table can be made of it: leave it out.")
    path = default_file() if file is None else Path(file)
    tables = _known(path)
    missing: dict[str, list[tuple[int, int]]] = {}
    for name, size in itertools.product(names, sizes):
        if _best(tables, net, (name, *size, threads), coarse) is None:
            missing.setdefault(name, []).extend(_unmeasured(tables, net, (name, *size, threads), coarse))
    wanted = {name: list(dict.fromkeys(left)) for name, left in missing.items()}
    for table in measure(net, wanted, threads, coarse):
        tables = added(tables, table)
        write_tables(path, added(_known(path), table))  # another process may have added some meanwhile
    chosen = []
    for name, size in itertools.product(names, sizes):
        found = _best(tables, net, (name, *size, threads), coarse)
        assert found is not None  # it was measured where it was missing
        chosen.append(found)
    return chosen


def _best(tables: Sequence[LatencyTable], model: Model, way: Way, coarse: bool) -> LatencyTable | None:
    """The table, a full one if there is one; a coarse one only if that will do."""
    full = find([table for table in tables if not table.coarse], model, way)
    return find([table for table in tables if table.coarse], model, way) if full is None and coarse else full


def _unmeasured(tables: Sequence[LatencyTable], model: Model, way: Way, coarse: bool) -> list[tuple[int, int]]:
    """The sizes (batch, length) around this one for which there is no table with the pieces that would be measured."""
    backend, batch, length, threads = way
    own = [table for table in tables if table.coarse == coarse and table.sizes == _sizes(model, coarse)]
    around = rungs(length, model.config.max_tokens)
    return [(batch, rung) for rung in around if not fitting(own, model, (backend, batch, rung, threads))]


def _known(file: Path) -> list[LatencyTable]:
    require_regular(file)
    return read_tables(file) if file.is_file() else []


def measure(
    model: Model, wanted: Mapping[str, Sequence[tuple[int, int]]], threads: int, coarse: bool = False
) -> Iterator[LatencyTable]:
    """Tables for the sizes (batch, length) that are wanted of each back-end, one after the other."""
    models = _models(model, coarse) if wanted else {}
    different = {id(net): net for net in models.values()}
    repeats, seconds = (COARSE_REPEATS, COARSE_SECONDS) if coarse else (REPEATS, SECONDS)
    with tempfile.TemporaryDirectory() as folder, torch_threads(threads):
        for backend, sizes in wanted.items():
            variants: list[Variant] = []
            with Ticker(f"Preparing pieces for {backend}", len(different)) as tick:
                for key, net in different.items():
                    variants += make_variants({str(key): net}, [backend], threads, Path(folder) / str(key), quick=True)
                    tick.advance()
            for size in sizes:
                workloads = make_workloads(variants, [size])
                timings = time_variants(variants, workloads, threads=threads, repeats=repeats, seconds=seconds)
                if reason := next((timing.skipped for timing in timings if timing.skipped), ""):
                    raise TrimformerError(f"No table can be made of {backend}: {reason}")
                times = {key: timing.median_ms or 0.0 for key, timing in zip(different, timings, strict=True)}
                pieces = solve({key: times[id(net)] for key, net in models.items()})
                yield LatencyTable(
                    backend, *size, threads, type(model).__name__, frame_of(model.config), pieces, coarse
                )


def plan(config: TrimformerConfig, reads_first: bool, coarse: bool = False) -> dict[Key, list[LayerShape]]:
    """The layers of the models that are timed, by the piece that each of them brings."""
    most = max(shape.ffn for shape in config.shapes)
    least = min(most, max(1, most // 16))
    plain = LAYERS[config.layer_kind].plain(max(config.shapes, key=lambda shape: shape.width), least)
    models = {BASE: [plain], REST: [plain]}
    for units in knots(most, least):
        models["ffn", units] = [plain] + [dataclasses.replace(plain, ffn=units)] * COPIES
    kinds = dict(_attentions(config, plain, coarse))
    models |= {key: [plain] + [shape] * COPIES for key, shape in kinds.items()}
    if reads_first:
        for units in (least, most):
            models[f"{FIRST}ffn", units] = [plain] + [dataclasses.replace(plain, ffn=units)] * COPIES
        mixing = {key: shape for key, shape in kinds.items() if not key[0].endswith((" qk", " inputs"))}
        models |= {(f"{FIRST}{name}", size): [shape] for (name, size), shape in mixing.items()}
    maps = common_maps(config.shapes)
    chosen = _ends(models) if coarse else models
    return {key: [with_maps(shape, maps) for shape in models[key]] for key in chosen}


def _ends(keys: Iterable[Key]) -> list[Key]:
    """The smallest and the largest size of each piece."""
    sizes: dict[str, list[int]] = {}
    for name, size in keys:
        sizes.setdefault(name, []).append(size)
    return [(name, size) for name, own in sizes.items() for size in sorted({min(own), max(own)})]


def _attentions(config: TrimformerConfig, plain: LayerShape, coarse: bool) -> Iterator[tuple[Key, LayerShape]]:
    """The layers with attention that are measured, by the piece that it is."""
    own = {shape.attention for shape in config.shapes} | {MEAN}
    kinds = [name for name in ATTENTION if not coarse or name in own]
    for name, size, shape in LAYERS[config.layer_kind].knots(config, plain, kinds):
        yield (name, size), shape


def solve(times: Mapping[Key, float]) -> dict[str, dict[int, float]]:
    """Milliseconds of the pieces from those of the models of :func:`plan`."""
    least = min(units for name, units in times if name == "ffn")
    block = (times["ffn", least] - times[BASE]) / COPIES
    last_block = (times[f"{FIRST}ffn", least] - times[REST]) / COPIES if (f"{FIRST}ffn", least) in times else block
    pieces: dict[str, dict[int, float]] = {}
    for (name, size), time in times.items():
        if (name, size) == BASE:
            continue
        if (name, size) == REST:
            time -= last_block
        elif name == "ffn":
            time = (time - times[BASE]) / COPIES
        elif name == f"{FIRST}ffn":
            time = (time - times[REST]) / COPIES
        elif name.startswith(FIRST):
            time -= times[REST]
        else:
            time = (time - times[BASE]) / COPIES - block
        pieces.setdefault(name, {})[size] = max(0.0, time)  # what is less is noise
    return pieces


def for_timing(config: TrimformerConfig) -> TrimformerConfig:
    """The configuration with a short word table and free layers: neither changes the time of a pass."""
    padding = config.pad_token_id if (config.pad_token_id or 0) < WORDS else 0
    small = {"vocab_size": min(config.vocab_size, WORDS), "pad_token_id": padding, "sharing": None}
    return TrimformerConfig.from_dict(config.to_dict() | small)


def _reads_first(model: Model) -> bool:
    """Whether layers behind the last that mixes tokens are computed for the first one alone: not where all mix."""
    all_mix = LAYERS[model.config.layer_kind].mixes
    return isinstance(model, TrimformerWithHead) and model.reads_first(model.config) and not all_mix


def _sizes(model: Model, coarse: bool) -> dict[str, set[int]]:
    """The sizes of each piece that would be measured."""
    sizes: dict[str, set[int]] = {}
    for name, size in plan(model.config, _reads_first(model), coarse):
        if name != BASE[0]:
            sizes.setdefault(name, set()).add(size)
    return sizes


def _models(model: Model, coarse: bool) -> dict[Key, Model]:
    """The models that are timed, with random weights, which do not change the time; the same for the same layers."""
    config, head, reads_first = for_timing(model.config), type(model), _reads_first(model)
    known: dict[tuple[bool, str], Model] = {}
    models: dict[Key, Model] = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for key, shapes in plan(config, reads_first, coarse).items():
            under_head = not reads_first or key == REST or key[0].startswith(FIRST)
            if (under_head, repr(shapes)) not in known:
                net = (head if under_head else TrimformerModel)(config.with_shapes(shapes)).eval()
                known[under_head, repr(shapes)] = net
            models[key] = known[under_head, repr(shapes)]
    return models
