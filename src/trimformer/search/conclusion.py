"""What a search reached, what not and why, and whether it holds, in sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..deploy.agreement import agrees, warning
from ..encoder.model.heads import Kind
from ..measure.bench.variants import precision
from ..measure.significance import FEW
from ..report import headline, numbers
from ..report.summary import epochs_words
from ..saved.exits import executed_words
from ..tasks.metric import metric, within
from .exits import SUFFIX
from .measurement import DENSE
from .schema import AutopilotReport, ConfirmationInfo, FileInfo, PointInfo, SearchReport
from .training import NEARLY, TWICE

KNOWN = (
    "The checkpoint came with a trained head: where it has seen the selection rows in its training, it does better on "
    "them than on others, and the drops there look larger than they are."
)


def seen_rows(kind: Kind) -> list[str]:
    """What is to be said of rows that a trained head may have seen; an embedding model has nothing of any labels."""
    return [] if kind == "embedding" else [KNOWN]


def conclude(report: AutopilotReport) -> list[str]:
    """What was reached, what not and why, and whether it holds on the validation rows."""
    first = [] if report.headline is None else [headline.sentence(report.headline, report.task.score_name)]
    return [
        *first,
        _reached(report),
        *_left_early(report),
        *_missed(report),
        *_too_slow(report),
        *_otherwise(report),
        *_mended(report),
        *confirmed(report, report.chosen.drop, "faster file"),
        *_trained(report),
        *in_time(report, [point.epochs for point in report.points]),
        # The dense model in fp32 is compared with itself.
        validated(report, same=(report.chosen.name, precision(report.chosen.backend)) == (DENSE, "fp32")),
        *report.balance,
    ]


def _reached(report: AutopilotReport) -> str:
    chosen = report.chosen
    what = "The dense model" if chosen.name == DENSE else chosen.name
    where = " on the GPU" if "gpu" in report.hardware else ""  # where files do not run
    return (
        f"{what} under {numbers.backend(chosen.backend)} is {chosen.speedup:.1f}× as fast as the dense model under "
        f"{numbers.backend(report.reference)}{where}: {numbers.milliseconds(chosen.ms)} against "
        f"{numbers.milliseconds(report.reference_ms)} ({report.workload})."
    )


def _left_early(report: AutopilotReport) -> list[str]:
    """After how many layers texts leave the chosen file."""
    counts = report.chosen.executed
    return [] if counts is None else [f"Texts leave it early: {executed_words(counts, 'texts that were timed')}"]


def _trained(report: AutopilotReport) -> list[str]:
    """How the chosen model and its exits learned."""
    point = next((point for point in report.points if point.name == report.chosen.name), None)
    if point is None:
        return []
    own = [] if point.layers is None else ["Its exits learned from its own last answers, while it stayed as it was."]
    beneath = point.name.removesuffix(SUFFIX)
    if beneath == DENSE:
        return own
    fitted = any(look.fitted for look in report.looked if look.name == beneath)
    return [*own, trained(point.epochs, fitted, "Nothing else of it" if own else "Nothing of it")]


def trained(epochs: float, fitted: bool, nothing: str = "Nothing of it") -> str:
    """How much longer a model was trained than the dense one, whose score might rise by that, too.

    fitted: whether what is left was fitted in closed form. nothing: how it begins where there were no epochs.
    """
    if epochs:
        return (
            f"It was trained for {epochs_words(epochs)} more than the dense model, and by distillation from it: what "
            "that alone brings is not known, because no control was run."
        )
    how = ": what is left was fitted to the dense model in closed form, without labels" if fitted else ""
    return f"{nothing} was trained{how}."


def in_time(report: SearchReport, epochs: Sequence[float]) -> list[str]:
    """What more time would bring. epochs: that each model was trained for."""
    settings = report.recipe["autopilot"]
    if settings["time_budget"] is None or settings["post_training"]:
        return []
    wanted = TWICE * settings["training"]["epochs"]
    most = max(epochs, default=wanted)
    if most > NEARLY * wanted:
        return []
    return [
        f"The models tried got at most {most:.2g} of {wanted:g} epochs in the time there was: a longer --time-budget "
        "trains them further."
    ]


def _missed(report: AutopilotReport) -> list[str]:
    """Why nothing was removed, and what it would take."""
    if report.chosen.name != DENSE:
        return []
    settings = report.recipe["autopilot"]
    points = [point for point in report.points if point.layers is None]  # exits remove nothing
    if not points:
        limited = settings["time_budget"] is not None
        why = "in the time there was: give a longer --time-budget" if limited else "that would be worth trying"
        return [f"The dense model was only exported, because no candidate was found {why}."]
    if any(not one.confirmed for one in report.confirmations):
        return []  # how they failed is told with the confirmation
    if any(point.inside for point in points):
        return ["What could be removed inside the budget brought no more speed than that."]
    nearest = min(points, key=lambda point: point.drop)
    other = "or training" if settings["post_training"] else "or more --epochs and time"
    return [
        f"No model from which something was removed stayed inside the budget of {budget(report)} on the "
        f"selection rows, so that the dense model was only exported.",
        f"Nearest came {nearest.name} ({nearest.folder}), which loses {lost(report, nearest.drop)} and is "
        f"{nearest.speedup:.1f}× as fast: it takes {option(report)} {above(nearest.drop)}, {other}.",
    ]


def _too_slow(report: AutopilotReport) -> list[str]:
    wanted = report.min_speedup
    if wanted is None or report.chosen.speedup >= wanted:
        return []
    found: list[PointInfo | FileInfo] = [*report.points, *report.files]
    enough = [one for one in found if one.speedup >= wanted]
    said = f"That is less than the {wanted:g}× asked for"
    if not enough:
        return [f"{said}, which nothing reached."]
    nearest = min(enough, key=lambda one: one.drop)
    takes = f"{option(report)} {above(nearest.drop)}"
    return [f"{said}: {nearest.name} reaches {nearest.speedup:.1f}×, and takes {takes}."]


def _otherwise(report: AutopilotReport) -> list[str]:
    """The files that answer otherwise than the same model in fp32."""
    return [
        warning(f"{one.name} under {numbers.backend(one.backend)}", one.agreement, "selection rows")
        for one in report.files
        if one.agreement is not None and not agrees(one.agreement)
    ]


def _mended(report: AutopilotReport) -> list[str]:
    """The int8 files of which some maps are in fp32."""
    return [
        one.mended.note(f"{one.name} under {numbers.backend(one.backend)}", one.agreement, "selection rows")
        for one in report.files
        if one.mended is not None and one.agreement is not None
    ]


def confirmed(report: SearchReport, drop: float, better: str) -> list[str]:
    """What was chosen loses on the rows that chose it and on those that did not, and what was stepped over.

    drop: on those that chose. better: what the others are, such as ``faster file``.
    """
    if not report.confirmations:
        return []
    *failed, last = report.confirmations
    said = (
        f"It loses {lost(report, drop)} on the {report.task.n_selection:,} selection rows and "
        f"{_bare(report, last.drop)} on {last.n_examples:,} confirmation rows that chose "
        f"nothing{_end(report, last)}: {'confirmed' if last.confirmed else 'not confirmed'}."
    )
    if not failed:
        return [said]
    count = f"1 {better} was" if len(failed) == 1 else f"{len(failed)} {better}s were"
    over = "; ".join(
        f"{one.name} under {numbers.backend(one.backend)} loses {_bare(report, one.drop)} there{_end(report, one)}"
        for one in failed
    )
    sentences = [said, f"{count} inside on selection and not confirmed: {over}."]
    rows = [one.rows for one in failed if one.rows is not None]
    if rows:
        few = f"{failed[0].n_examples:,} confirmation rows are too few to be sure"
        sentences.append(f"{few}: if the drops stay, it takes about {min(rows):,}.")
    return sentences


def _end(report: SearchReport, one: ConfirmationInfo) -> str:
    if one.upper is None:
        return ""
    if math.isinf(one.upper):
        return f" (unproven: fewer than {FEW} {'answers' if one.groups is None else 'groups'} differ)"
    drawn = "" if one.groups is None else f", {one.groups:,} groups drawn as a whole"
    return f" (at most {_bare(report, one.upper)}, one-sided 95 % interval, for all tried together{drawn})"


def lost(report: SearchReport, drop: float) -> str:
    """A drop, in the budget's unit, with that unit for people."""
    said = metric(report.comparison.metric).lost(drop)
    return f"{said} of agreement" if report.task.pseudo_labels else said


def _bare(report: SearchReport, drop: float) -> str:
    return metric(report.comparison.metric).lost(drop, unit=False)


def budget(report: SearchReport) -> str:
    """The drop that is allowed, with its unit for people."""
    said = metric(report.comparison.metric).budget(report.max_drop)
    return f"{said} of agreement" if report.task.pseudo_labels else said


def option(report: SearchReport) -> str:
    """The option that gives the budget."""
    return "--max-disagreement" if report.task.pseudo_labels else "--max-drop"


def validated(report: SearchReport, same: bool) -> str:
    """Whether it holds on the validation rows. same: what was chosen answers as the dense model does, being that."""
    test = report.comparison
    low, high = (numbers.points(end, test.metric, unit=False) for end in (test.low, test.high))
    exact = "exact " if test.interval == "exact" else ""
    drawn = "" if test.groups is None else f", {test.groups:,} groups drawn as a whole"
    ends = f"{exact}95 % interval {low} to {high}{drawn}"
    interval = ends if test.proves else "too few answers differ for an interval"

    said = (
        f"On the {test.n_examples:,} validation rows its {report.task.called(test.metric)} differs from that of the "
        f"dense model by {numbers.points(test.difference, test.metric)} ({interval})"
    )
    if report.task.labelled_validation:
        return f"{said}, by the labels that these rows have."
    if not within(metric(test.metric).drop(test.difference), report.max_drop):
        return f"{said}: outside the budget of {budget(report)}."
    worst = max(map(metric(test.metric).drop, (test.low, test.high)))
    proven = same or (test.proves and within(worst, report.max_drop))
    doubt = "" if proven else ", though so few rows cannot prove it"
    return f"{said}: inside the budget of {budget(report)}{doubt}."


def above(drop: float) -> str:
    """The smallest budget with two decimals in which a drop lies, of a small one with two digits."""
    scale = 10.0 ** max(2, 1 - math.floor(math.log10(drop))) if drop > 0 else 100.0
    return f"{math.ceil(drop * scale) / scale:.10g}"
