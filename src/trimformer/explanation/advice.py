"""What findings mean, in sentences, and the recipe that they suggest."""

from __future__ import annotations

import shlex

from ..deploy.agreement import agrees, percent, warning
from ..encoder import TrimformerConfig
from ..encoder.shape.kinds import ATTENTION, left_of
from ..hardware import has_native_bf16
from ..inference.runtimes.backends import FILE_BACKENDS
from ..measure.bench.target import TIE
from ..recipe.settings import Recipe
from ..recipe.standard import autopilot_recipe
from ..report import numbers
from ..saved.exits import executed_words
from ..tasks.metric import metric, within
from ..tasks.settings import TaskSettings
from .findings import MOST, Explanation, FileFinding, carriers

WORTH = 0.9
"""The share of the layers that texts need on average, above which exits save little."""


def conclude(found: Explanation) -> list[str]:
    """Where the time goes, which layers and parts matter, which precision pays."""
    paying = [file for kind in ("bf16", "int8") if (file := _paying(found, kind)) is not None]
    return [
        _times(found),
        *_attention(found),
        *_parts(found),
        *_depth(found),
        *(_precision(found, kind) for kind in ("int8", "bf16")),
        *([_export(found, min(paying, key=lambda file: file.ms))] if paying else []),
    ]


def _times(found: Explanation) -> str:
    attention, blocks = (sum(getattr(layer, name) for layer in found.layers) for name in ("attention_ms", "ffn_ms"))
    shares = (f"{100 * ms / found.ms:.0f} %" for ms in (attention, blocks, found.rest_ms))
    return (
        "Of the {} that a pass takes under {} (batch {}, {} tokens), attention has {}, feed-forward blocks {}, "
        "embeddings and head {}."
    ).format(
        numbers.milliseconds(found.ms), numbers.backend(found.table_backend), found.batch, found.length, *shares
    )  # fmt: skip


def _attention(found: Explanation) -> list[str]:
    """Which attention matters most and least; those that are only a mean cannot lose anything."""
    able = [index for index, layer in enumerate(found.layers) if left_of(layer.attention, "mean") != layer.attention]
    if len(able) < 2:
        return []
    order = sorted(able, key=lambda index: found.layers[index].loss)
    low, high = (f"layer {index} ({found.layers[index].loss:.3f})" for index in (order[0], order[-1]))
    return [
        f"The loss, {found.loss:.3f} as it is, is highest without the attention of {high} and lowest without that of "
        f"{low}."
    ]


def _parts(found: Explanation) -> list[str]:
    """How few of the units and heads carry most of the importance, and what half of them cost."""
    shares = [100 * carriers(layer.units) / len(layer.units) for layer in found.layers if layer.units]
    counts = [carriers(layer.heads) for layer in found.layers if ATTENTION[layer.attention].attends]
    said = []
    if shares:
        said.append(f"{_span(min(shares), max(shares))} % of the feed-forward units of a layer")
    if counts:
        said.append(f"{_span(min(counts), max(counts))} of its {max(len(x.heads) for x in found.layers)} heads")
    if not said:
        return []
    heads, units = (sum(getattr(layer, name) for layer in found.layers) for name in ("half_heads_ms", "half_units_ms"))
    return [
        f"{' and '.join(said)} carry {100 * MOST:.0f} % of their importance. Every layer with half of its units would "
        f"save {numbers.milliseconds(units)}, with half of its heads {numbers.milliseconds(heads)}."
    ]


def _depth(found: Explanation) -> list[str]:
    """How many layers texts need, and what would use that."""
    needed = found.depth
    if needed is None:
        return []
    layers, total = len(needed.executed), sum(needed.executed)
    mean = sum(number * count for number, count in enumerate(needed.executed, 1)) / total
    said = (
        f"With an exit behind each layer {executed_words(needed.executed, f'{found.split} texts')} Such exits were "
        f"fitted to the model's answers in closed form on {needed.fitted:,} texts. A text leaves where one is at least "
        f"{100 * needed.sure:.0f} % sure, and {percent(needed.same)} of the answers are then those of all layers."
    )
    if mean > WORTH * layers:
        return [f"{said} Exits would save little here."]
    return [
        f"{said} Exits that are trained use this: trimformer compress {shlex.quote(found.model)} --method fastbert, "
        "which leaves the model as it is, and the data options as here."
    ]


def _span(low: float, high: float) -> str:
    return f"{low:.0f}" if round(low) == round(high) else f"{low:.0f} to {high:.0f}"


def _precision(found: Explanation, kind: str) -> str:
    """Whether a precision pays here, and why not."""
    own = [file for file in found.files if file.precision == kind]
    if not own:
        if kind == "bf16" and not has_native_bf16():
            return "bf16 does not pay here: this processor has no instructions for it (AVX512-BF16 or AMX)."
        return f'{kind} was not measured because no {kind} runtime is installed: pip install "trimformer[openvino]".'
    best = _paying(found, kind)
    shown = best or min(own, key=lambda file: file.ms)
    what = f"{numbers.backend(shown.backend)} is {shown.speedup:.2f}× as fast as the fastest in fp32"
    low, high = (numbers.points(end, found.metric, unit=False) for end in (shown.low, shown.high))
    exact = "exact " if shown.interval == "exact" else ""
    interval = f"{exact}95 % interval {low} to {high}" if shown.proves else "too few answers differ for an interval"
    score = (
        f"its {found.metric} differs by {numbers.points(shown.difference, found.metric)} ({interval}) on "
        f"{found.rows:,} rows"
    )
    if best is None:
        if not agrees(shown.agreement):
            said = warning(numbers.backend(shown.backend), shown.agreement, f"{found.split} rows")
            return f"{said} {kind} does not pay here: {what}, and {score}."
        why = "" if shown.speedup < TIE else f": more than {_allowed(found)} down"
        return f"{kind} does not pay here: {what}, and {score}{why}."
    worst = max(map(metric(found.metric).drop, (shown.low, shown.high)))
    proven = within(worst, found.allowed) and shown.proves
    doubt = "" if proven else f"; so few rows cannot prove that it loses less than {_allowed(found)}"
    return f"{kind} pays here: {what}, and {score}{doubt}."


def _paying(found: Explanation, kind: str) -> FileFinding | None:
    """The fastest of a precision that is faster than fp32, answers as it does and loses little."""
    drop = metric(found.metric).drop
    fast = [file for file in found.files if file.precision == kind and file.speedup >= TIE]
    able = [file for file in fast if within(drop(file.difference), found.allowed) and agrees(file.agreement)]
    return min(able, key=lambda file: file.ms, default=None)


def _export(found: Explanation, file: FileFinding) -> str:
    return (
        f"That gain needs no training: trimformer export {shlex.quote(found.model)} --to "
        f"{FILE_BACKENDS[file.backend].extra} --precision {file.precision} --out FOLDER, and the data options as here."
    )


def obstacle(settings: TaskSettings) -> str | None:
    """Why no recipe can be suggested; None where one can."""
    if settings.validation_only:
        return "No recipe can be suggested without training rows: name them with --train or --data."
    return None


def _allowed(found: Explanation) -> str:
    return metric(found.metric).budget(found.allowed)


def suggest(
    found: Explanation, config: TrimformerConfig, settings: TaskSettings, batch: int, length: int | None
) -> tuple[Recipe | None, str]:
    """The autopilot with a small budget, and why that; or no recipe, and why none."""
    why = obstacle(settings)
    if why is not None:
        return None, why
    recipe = autopilot_recipe(
        found.model, settings, "runs/explained", budget={"max_drop": found.allowed}, batch=batch, length=length
    )
    return recipe, (
        f"Suggested: the autopilot with a budget of {_allowed(found)}. What stands here is before any training, which "
        "repairs much of what a removal costs, and parts that are removed together usually cost more than one by one: "
        "it tells what to try first and not how much can go. The autopilot starts from estimates like these, trains a "
        "few combinations under distillation, tries int8 and bf16 on them, and tests the fastest that stays inside."
    )
