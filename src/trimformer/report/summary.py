"""The result in plain words, for the head of the report, the terminal and the model card."""

from __future__ import annotations

from ..saved.exits import executed_words
from ..tasks.metric import metric
from . import headline as deployed
from . import numbers
from .schema import Comparison, Latency, Report


def headline(report: Report) -> str:
    """One sentence: what it comes to for the file that one would deploy.

    Without such figures, as in reports of before: what was removed, how fast it is now in the first setting timed for
    both, and what the score did; ``details`` gives the range over all.
    """
    if report.headline is not None:
        return deployed.sentence(report.headline, report.task.score_name)
    return _sentence(report, [speed_words(report), score_words(report)])


def _sentence(report: Report, parts: list[str]) -> str:
    """What was removed, and what that did."""
    given = [text for text in parts if text]
    return f"{removal_words(report)}{': ' if given else ''}{', '.join(given)}."


def removal_words(report: Report) -> str:
    """What was removed from how many layers; of a student that is no part of the dense model, what it is."""
    trimmed = report.variant("trimmed")
    if trimmed is None or not trimmed.layers:
        return f"{report.model} on {report.task.name}"
    removed, layers = report.removed_layers(), len(trimmed.layers)
    words = [f"attention removed from {len(removed)} of {layers} layers"] if removed else []
    words = [*size_words(report), *words] or other_words(report)
    text = ", ".join(words)
    return text[0].upper() + text[1:]


def size_words(report: Report) -> list[str]:
    """What was removed beside the attention of layers: whole layers, heads, feed-forward units."""
    dense, trimmed = report.variant("dense"), report.variant("trimmed")
    if report.student or dense is None or trimmed is None or not dense.layers or not trimmed.layers:
        return []
    words = []
    if len(trimmed.layers) < len(dense.layers):
        words.append(f"{len(dense.layers) - len(trimmed.layers)} of {len(dense.layers)} layers removed")
    attending = [layer.heads for layer in trimmed.layers if layer.attends]
    for name, left, most in (
        ("heads", attending, max(layer.heads for layer in dense.layers)),
        ("feed-forward units", [layer.ffn for layer in trimmed.layers], max(layer.ffn for layer in dense.layers)),
    ):
        before = most * len(left)
        if sum(left) < before:
            words.append(f"{before - sum(left):,} of {before:,} {name} removed")
    return words


def other_words(report: Report) -> list[str]:
    """What was done where no layer, attention, head or unit was removed: the student or the method, and the weights
    that it saved.
    """
    dense, trimmed = report.variant("dense"), report.variant("trimmed")
    saved = 1 - trimmed.params / dense.params if dense and trimmed else 0.0
    return [report.student or report.method, *([f"{100 * saved:.0f}\u00a0% fewer weights"] if saved >= 0.005 else [])]


def speed_words(report: Report) -> str:
    """The speed-up in the first setting timed for both; empty without times."""
    pairs = report.speedups()
    if not pairs:
        return ""
    dense, trimmed = pairs[0]
    return f"{_ratio(dense.ms / trimmed.ms)} at {setting_words(dense)}"


def score_words(report: Report) -> str:
    """Score after and before, with the interval of the difference; empty without scores."""
    dense, trimmed, name = report.variant("dense"), report.variant("trimmed"), report.task.metric
    if trimmed is None or trimmed.score is None:
        return ""
    text = f"{report.task.score_name} {numbers.score(trimmed.score, name)}"
    if dense is None or dense.score is None:
        return text
    details = f"difference {numbers.points(trimmed.score - dense.score, name)}"
    if report.comparison is not None and report.comparison.metric == name:
        details += _interval(report.comparison)
    return f"{text} vs {numbers.score(dense.score, name)} ({details})"


def details(report: Report) -> str:
    """What the headline leaves out: between what it compares, what was removed and what the score in fp32 did, the
    range of the speed-up, what the interval says, and how much of the difference may come from longer training; empty
    without any of these.
    """
    ratios = [dense.ms / trimmed.ms for dense, trimmed in report.speedups()]
    sentences = []
    if report.headline is not None:
        exact = score_words(report)
        sentences.append(deployed.explanation(report.headline))
        sentences.append(_sentence(report, [f"in fp32 {exact}" if exact else ""]))
    if len(ratios) > 1:
        span = f"{min(ratios):.2f}× to {max(ratios):.2f}×"
        where = "" if report.headline is None else " on the same back-end"
        sentences.append(f"Over all {len(ratios)} settings timed the speed is {span} that of the dense model{where}.")
    sentences.append(exit_words(report))
    return " ".join(text for text in [*sentences, verdict(report), training_words(report)] if text)


def exit_words(report: Report) -> str:
    """How many layers the validation texts went through; empty without exits."""
    trimmed = report.variant("trimmed")
    return "" if trimmed is None or not trimmed.executed else executed_words(trimmed.executed, "validation texts")


def verdict(report: Report) -> str:
    """What the interval of the difference says, in one sentence; empty without a comparison."""
    return "" if report.comparison is None else _judged(report.comparison)


def training_words(report: Report) -> str:
    """How much longer the trimmed model was trained, or what it is beside a dense model with as much training."""
    info, control, name = report.training, report.control, report.task.metric
    if info is None or not info.epochs:
        return ""
    if control is not None:
        test = control.comparison
        return (
            f"Trained for as long as the trimmed model, with the same data, objective and learning rate, the dense "
            f"model has {name} {numbers.score(control.score, name)}; the trimmed one differs from that by "
            f"{numbers.points(test.difference, name)}{_interval(test)}. {_judged(test)}"
        )
    part = "" if info.distilled == info.epochs else f"{round(info.distilled, 2):g} of them "
    distilled = f", {part}by distillation from it" if info.distilled else ""
    if info.on_top:
        said = f"{epochs_words(info.epochs)} more than the dense one{distilled}"
    else:
        own = epochs_words(info.dense_epochs) if info.dense_epochs else "before this run"
        said = f"{epochs_words(info.epochs)} beside the dense one{distilled}, which was trained {own}"
    said = f"The trimmed model was trained for {said}"
    if report.task.kind == "masked-lm":  # plain text has no control
        return f"{said}."
    return f"{said}: what that alone brings is not known, because no control was run (--control dense)."


def epochs_words(count: float) -> str:
    """A length of training; a part of an epoch has at most two decimals."""
    return f"{round(count, 2):g} epoch{'' if round(count, 2) == 1 else 's'}"


def _interval(test: Comparison) -> str:
    """The interval of a difference, after it; empty where it says nothing."""
    if not _proves(test):
        return ""
    low, high = (numbers.points(end, test.metric, unit=False) for end in (test.low, test.high))
    return f", {'exact ' if test.interval == 'exact' else ''}95\u00a0% interval {low} to {high}"


def _judged(test: Comparison) -> str:
    """What the interval of a difference says, in one sentence."""
    examples = f"{test.n_examples} validation examples ({numbers.p_value(test.p_value)})"
    if not _proves(test):
        if not test.differing:
            return f"The score is the same on all resamples of these {examples}: this proves nothing about other texts."
        one = test.differing == 1
        where = f"answer{'' if one else 's'}" if test.groups is None else f"of the {test.groups} groups of answers"
        differ = "differs" if one else "differ"
        return f"Only {test.differing} {where} to these {examples} {differ}: this proves nothing about other texts."
    if test.p_value > 0.05 if test.interval == "exact" else test.low <= 0 <= test.high:
        return f"These {examples} do not tell them apart: the true difference may lie anywhere in that interval."
    better = metric(test.metric).drop(test.difference) < 0
    return f"The trimmed model is {'better' if better else 'worse'} by more than chance on these {examples}."


def interval_words(test: Comparison | None) -> str:
    """How the interval of the difference was found, in one sentence; empty without one."""
    if test is None:
        return ""
    if test.interval == "exact":
        few = "1 answer differs" if test.differing == 1 else f"{test.differing or 0} answers differ"
        return f"The interval is exact (Clopper and Pearson), because only {few} in being right."
    if not _proves(test):
        return ""
    of = "" if test.groups is None else f" of {test.groups} groups, whose examples are drawn together"
    return f"The interval is a paired bootstrap{of} with {test.resamples} resamples."


def _proves(test: Comparison) -> bool:
    """Reports of before do not say so; there an interval from 0 to 0 means that nothing differed."""
    return test.proves and not test.low == test.high == 0


def setting_words(entry: Latency) -> str:
    """Backend, batch and length of a time."""
    return f"batch {entry.batch}, {entry.length} tokens on {numbers.backend(entry.backend)}"


def _ratio(ratio: float) -> str:
    if ratio >= 1.005:
        return f"{ratio:.2f}× as fast"
    return "as fast as before" if ratio > 0.995 else f"slower, {ratio:.2f}× the speed"
