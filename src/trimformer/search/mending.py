"""int8 files of a search that answer otherwise than fp32 does: the maps that cost it stay in fp32."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ..deploy.agreement import agreement, agrees
from ..deploy.mend import Mended, mended
from ..deploy.writers import INT8
from ..encoder.checkpoints.load import load_with_head
from ..encoder.model.heads import TrimformerWithHead
from ..inference.runtimes.backends import open_backend
from ..inference.runtimes.exits import counts_of
from ..measure.bench.variants import Variant
from ..tasks.data import Task
from ..tasks.encoding.encoded import Encoded
from ..tasks.outcome import outcome
from ..training.evaluate import on_fastest, predict_logits
from .measurement import Scored, Scores, logits_of


def with_mended(
    variants: Sequence[Variant],
    scores: Scores,
    models: Mapping[str, Path],
    task: Task,
    data: Encoded,
    calibration: Encoded,
    threads: int,
) -> tuple[list[Variant], Scores]:
    """Variants and scores with mended files in the place of those in int8 that do not agree, where that helps.

    A file is written anew where it was, so that whoever opens it again opens the mended one. models: folders by name.
    """
    found, scored = [], dict(scores)
    for one in variants:
        known = scores.get((one.name, one.backend))
        if one.backend in INT8 and known is not None and known.agreement is not None and not agrees(known.agreement):
            model = load_with_head(models[one.name])
            if model.config.split_layers:  # its files are two halves, which are not mended
                found.append(one)
                continue
            exact = predict_logits(on_fastest(model), data, title="Scoring PyTorch")
            trials = Trials(one, task, data, exact, threads)
            kept = trials.mend(model.cpu(), calibration, known.agreement)
            if kept is not None:
                scored[one.name, one.backend] = trials.scored[len(kept.kept)]._replace(mended=kept)
                assert one.path is not None
                one = trials.opened(one.path)
        found.append(one)
    return found, scored


@dataclasses.dataclass(frozen=True)
class Trials:
    """Files that are tried in the place of a variant's. scored: what each is worth, by how many maps stay in it.

    exact: the logits of the model in fp32 on the data.
    """

    variant: Variant
    task: Task
    data: Encoded
    exact: np.ndarray
    threads: int
    scored: dict[int, Scored] = dataclasses.field(default_factory=dict)

    def mend(self, model: TrimformerWithHead, calibration: Encoded, before: float) -> Mended | None:
        assert self.variant.path is not None
        return mended(model, self.variant.path, self.variant.backend, calibration, before, self._agrees)

    def opened(self, path: Path) -> Variant:
        """The variant with the file that is there now."""
        assert self.variant.path is not None
        session = open_backend(path, self.variant.backend, self.threads, self.variant.path.parent)
        return dataclasses.replace(self.variant, run=session.run, executed=counts_of(session))

    def _agrees(self, path: Path, kept: Sequence[str]) -> bool:
        logits = logits_of(self.opened(path), self.data)
        score = outcome(self.task, self.data, logits).scores[self.task.metrics[0]]
        found = self.scored[len(kept)] = Scored(score, agreement(self.data, self.exact, logits))
        return agrees(found.agreement)
