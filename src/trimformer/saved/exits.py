"""Early exits: after which layers a text may leave the encoder, and the rule by which it does.

NumPy is all that this file needs: the PyTorch model and the programs that run exported files decide by the same lines.

Two rules. ``entropy``: a text leaves where the entropy of softmax(logits), divided by log N for N labels so that it
lies between 0 and 1, is below the threshold. That is FastBERT's Speed as it stands (Liu et al., 2020, section 3.4);
DeeBERT's threshold is in natural units and must be divided by log N (Xin et al., 2020, section 3.2). ``patience``: a
text leaves where that many exits in a row agreed with the exit before them (Zhou et al., 2020, section 3.1).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import TrimformerError


def _of_labels(logits: np.ndarray) -> np.ndarray:
    """The entropy of one answer out of N: (…, N) -> (…)."""
    shifted = logits - logits.max(-1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    found: np.ndarray = -(np.exp(logs) * logs).sum(-1) / math.log(logits.shape[-1])
    return found


def _of_each_label(logits: np.ndarray) -> np.ndarray:
    """The entropy of each label, which is there or not: (…, N) -> (…, N)."""
    return _of_labels(np.stack([logits, np.zeros_like(logits)], -1))


@dataclasses.dataclass(frozen=True)
class Answers:
    """How exits read the logits of a kind of task. Both give (rows,) or (rows, parts), all of which must be sure.

    entropy: None where an answer has none. said: what two exits must agree on. fewest: outputs that one can be sure of.
    by_token: whether the logits are (rows, n, N), of which padding does not count.
    """

    entropy: Callable[[np.ndarray], np.ndarray] | None
    said: Callable[[np.ndarray], np.ndarray]
    fewest: int = 1
    by_token: bool = False


ANSWERS: Mapping[str, Answers] = {
    "classification": Answers(_of_labels, lambda logits: logits.argmax(-1), fewest=2),
    "multilabel": Answers(_of_each_label, lambda logits: logits > 0),
    "regression": Answers(None, lambda logits: logits[..., 0]),
    "tokens": Answers(_of_labels, lambda logits: logits.argmax(-1), fewest=2, by_token=True),
}
"""By the kind of task. A text with several labels leaves where it is sure of each label, and one whose tokens are
tagged where it is sure of each of its tokens, special tokens included."""
WITHOUT: Mapping[str, str] = {
    "ranking": "the scores of one question's candidates can only be compared where the same layer gave them",
    "spans": "the first and the last token of an answer are compared with all other tokens of the text",
    "embedding": "vectors can only be compared where the same layer gave them",
    "masked-lm": "it answers at single places of a text, and is trained further before anybody uses it",
}
"""The kinds of task that cannot have exits, and why."""


READS = ("head", "mean")


@dataclasses.dataclass(frozen=True)
class ExitShape:
    """Where the exits of an encoder are, and when a text leaves.

    after: the layers, counted from 0, behind which an exit stands; the last layer has the ordinary head.
    rule: ``entropy`` or ``patience``.
    threshold: of ``entropy``: 0 lets nobody leave, and above 1 everybody leaves at the first exit. Of ``patience``: a
        whole number of at least 1; as many as there are exits let nobody leave.
    tolerance: of ``patience`` where the answer is a number: up to which difference two exits agree.
    reads: ``head``: an exit has the form of the last head and reads the same. ``mean``: where a text is answered once,
        it is a linear map of the mean over the real tokens.
    max_drop: points that the threshold was chosen to lose at most; None: half a point.
    thresholds: by the back-end of an exported file, where one was chosen by the answers of the file itself.
    """

    after: tuple[int, ...]
    rule: str
    threshold: float
    tolerance: float | None = None
    reads: str = "head"
    max_drop: float | None = None
    thresholds: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        after = self.after
        numbers = [self.threshold, *(one for one in (self.tolerance, self.max_drop) if one is not None)]
        if not after or any(type(layer) is not int for layer in after) or [*after] != sorted({*after}) or after[0] < 0:
            raise TrimformerError(
                f"The exits stand after the layers {[*after]}: name at least one layer, each once, from the lowest on, "
                "counted from 0."
            )
        if self.rule not in RULES:
            raise TrimformerError(f"The rule of the exits is {self.rule!r}: use one of {', '.join(RULES)}.")
        if any(isinstance(one, bool) or not isinstance(one, int | float) for one in numbers) or not all(
            0 <= one < math.inf for one in numbers
        ):
            raise TrimformerError(
                f"The exits have the threshold {self.threshold!r}, the tolerance {self.tolerance!r} and max_drop "
                f"{self.max_drop!r}: all are numbers of at least 0."
            )
        if self.reads not in READS:
            raise TrimformerError(f"The exits read {self.reads!r}: use one of {', '.join(READS)}.")
        RULES[self.rule].check(self)
        for backend in self.thresholds or {}:
            self.of_file(backend)

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> ExitShape:
        """From the field of a configuration; raises TrimformerError for what is missing, unknown or means nothing."""
        try:
            return cls(**{**values, "after": tuple(values["after"])})
        except (TypeError, KeyError, AttributeError) as error:
            raise TrimformerError(
                f"exits in config.json is not readable ({error}): give after, rule and threshold, or use the file that "
                "was saved with the weights."
            ) from error

    def to_dict(self) -> dict[str, Any]:
        """As a configuration keeps it."""
        values = dataclasses.asdict(self) | {"after": list(self.after)}
        return {name: value for name, value in values.items() if value is not None}

    def of_file(self, backend: str) -> ExitShape:
        """As the texts of a file under this back-end leave."""
        threshold = (self.thresholds or {}).get(backend, self.threshold)
        return dataclasses.replace(self, threshold=threshold, thresholds=None)

    @property
    def all_read(self) -> int:
        """How many layers, from the first on, must give all tokens, whatever the last head reads."""
        return self.after[-1] + 1 if self.reads == "mean" else 0

    @property
    def when(self) -> str:
        """When a text leaves, in words."""
        said: str = RULES[self.rule].when(self)
        return said

    def check_layers(self, layers: int) -> None:
        """Raise TrimformerError where an encoder of so many layers has no place for an exit."""
        if self.after[-1] >= layers - 1:
            raise TrimformerError(
                f"An exit stands after layer {self.after[-1]}, and the encoder has the layers 0 to {layers - 1}: exits "
                f"stand after the layers 0 to {layers - 2}, because the last one has the ordinary head."
            )

    def check_kind(self, kind: str, outputs: int) -> None:
        """Raise TrimformerError where a model of this kind of task, of so many outputs, cannot have these exits."""
        if (why := WITHOUT.get(kind)) is not None:
            raise TrimformerError(f"A model for {kind} cannot have exits, because {why}: leave exits out.")
        number = ANSWERS[kind].entropy is None
        if number and self.rule == "entropy":
            raise TrimformerError(f"The answer of {kind} is a number, which has no entropy: use the rule patience.")
        if number != (self.tolerance is not None):
            raise TrimformerError(
                f"The answer of {kind} is a number: give exits a tolerance, up to which two numbers agree."
                if number
                else f"Only numbers agree up to a tolerance, and the task is {kind}: leave tolerance out of exits."
            )
        if outputs < ANSWERS[kind].fewest:
            raise TrimformerError(
                f"An exit for {kind} needs {ANSWERS[kind].fewest} labels to be sure of one, and the model has "
                f"{outputs}: leave exits out."
            )

    def kept(self, layers: Sequence[int]) -> ExitShape | None:
        """The exits of an encoder of which only these layers are kept; None: none is left.

        An exit goes with the layer that it stands after, and where that layer becomes the last one. Thresholds of files
        go with the files.
        """
        after = tuple(place for place, layer in enumerate(layers[:-1]) if layer in self.after)
        return dataclasses.replace(self, after=after, thresholds=None) if after else None


class _Entropy:
    """Sure is who has little entropy, whatever earlier exits said."""

    @staticmethod
    def when(shape: ExitShape) -> str:
        return f"the entropy of an exit's answer, from 0 to 1, is below {shape.threshold:g}"

    @staticmethod
    def check(shape: ExitShape) -> None:
        if shape.tolerance is not None:
            raise TrimformerError("The rule entropy compares no numbers: leave tolerance out of exits.")

    def __init__(self, shape: ExitShape, kind: str) -> None:
        self.threshold, self.entropy = shape.threshold, ANSWERS[kind].entropy

    def __call__(self, logits: np.ndarray, real: np.ndarray | None) -> np.ndarray:
        assert self.entropy is not None, "check_kind refuses it"
        return _all(self.entropy(logits) < self.threshold, real)

    def keep(self, rows: np.ndarray) -> None:
        """Nothing is remembered."""


class _Patience:
    """Sure is whose exits agreed often enough, one after another; a disagreement sets the count back to 0."""

    @staticmethod
    def when(shape: ExitShape) -> str:
        times = "an exit agrees" if shape.threshold == 1 else f"{shape.threshold:g} exits in a row agree"
        numbers = "" if shape.tolerance is None else f" up to a difference of {shape.tolerance:g}"
        return f"{times} with the exit before{numbers}"

    @staticmethod
    def check(shape: ExitShape) -> None:
        if shape.threshold < 1 or shape.threshold != int(shape.threshold):
            raise TrimformerError(
                f"The patience of the exits is {shape.threshold!r}: it is a whole number of at least 1."
            )

    def __init__(self, shape: ExitShape, kind: str) -> None:
        self.patience, self.tolerance, self.said = shape.threshold, shape.tolerance or 0.0, ANSWERS[kind].said
        self.before: np.ndarray | None = None
        self.count = np.zeros(0, dtype=np.int64)

    def __call__(self, logits: np.ndarray, real: np.ndarray | None) -> np.ndarray:
        said = self.said(logits).astype(np.float64)
        if self.before is None:
            self.count = np.zeros(len(said), dtype=np.int64)
        else:
            before = self.before if real is None else self.before[:, : said.shape[1]]
            self.count = np.where(_all(np.abs(said - before) <= self.tolerance, real), self.count + 1, 0)
        self.before = said
        leaving: np.ndarray = self.count >= self.patience
        return leaving

    def keep(self, rows: np.ndarray) -> None:
        """Go on with these rows alone."""
        if self.before is not None:
            self.before, self.count = self.before[rows], self.count[rows]


def _all(sure: np.ndarray, real: np.ndarray | None) -> np.ndarray:
    """(rows, …) -> (rows,): whether all parts of a row are sure, those that are not real left out."""
    sure = sure if real is None else sure | ~real
    found: np.ndarray = np.asarray(sure.all(axis=tuple(range(1, sure.ndim))))
    return found


RULES: Mapping[str, Any] = {"entropy": _Entropy, "patience": _Patience}


class Leaving:
    """Says of a batch, exit by exit, which of its rows leave; it remembers what the rule has to know of the others.

    Call it once for each exit, first exit first, with the logits of the rows that are still there, (rows, N) or, where
    tokens are tagged, (rows, n, N) with ``real``, (rows, n): which tokens are no padding (None: all are real). It
    gives (rows,) of bool; the rows that do not leave are those that the next call is about, in the same order. Columns
    may be gone from the end by then. A row that is not finite never leaves.
    """

    def __init__(self, shape: ExitShape, kind: str) -> None:
        self._rule = RULES[shape.rule](shape, kind)
        self._by_token = ANSWERS[kind].by_token

    def __call__(self, logits: np.ndarray, real: np.ndarray | None = None) -> np.ndarray:
        if not self._by_token:
            real = None
        elif real is None:
            real = np.ones(logits.shape[:2], dtype=bool)
        real = None if real is None else real.astype(bool)
        finite = np.isfinite(logits).all(-1)
        leaving: np.ndarray = self._rule(logits.astype(np.float64), real)
        leaving = leaving & (_all(finite, real) if self._by_token else finite)
        self._rule.keep(~leaving)
        return leaving


def executed_words(counts: Sequence[int], texts: str = "texts") -> str:
    """A sentence on how many layers the texts need. counts: of those that went through 1, 2, … layers, up to all."""
    layers, total = len(counts), sum(counts)
    mean = sum(number * count for number, count in enumerate(counts, 1)) / total
    half = next(number for number in range(1, layers + 1) if 2 * sum(counts[:number]) >= total)
    each = ", ".join(f"{number}: {100 * count / total:.0f} %" for number, count in enumerate(counts, 1) if count)
    share = sum(counts[:half]) if half < layers else counts[-1]
    need = f"{'at most ' if half > 1 else ''}{half} of {layers} layers" if half < layers else f"all {layers} layers"
    return f"{100 * share / total:.0f} % of the {texts} need {need}, and the mean is {mean:.2f} ({each})."


def exits_of(shape: ExitShape, kind: str, logits: Sequence[np.ndarray], real: np.ndarray | None = None) -> np.ndarray:
    """Where each row leaves, given all that is said of it: (rows,), the number of the exit from 0.

    logits: of each exit and, behind them, of the last head, which answers for who leaves at none; each, and ``real``,
    as :class:`Leaving` takes them.
    """
    leaving, rows = Leaving(shape, kind), np.arange(len(logits[-1]))
    found = np.full(len(rows), len(logits) - 1)
    for number, own in enumerate(logits[:-1]):
        gone = leaving(own[rows], None if real is None else real[rows])
        found[rows[gone]] = number
        rows = rows[~gone]
    return found
