"""int8 files of a search that answer otherwise than fp32 does: the maps that cost it stay in fp32."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from ..deploy.agreement import agrees
from ..deploy.mend import Mended, maps_to_keep, write_mended
from ..deploy.scoring import agreement_of
from ..deploy.writers import INT8
from ..encoder.checkpoints.load import load_with_head
from ..encoder.model.heads import TrimformerWithHead
from ..inference.runtimes.backends import open_backend
from ..measure.bench.variants import Variant
from ..tasks.data import Task
from ..tasks.encoding.encoded import Encoded
from ..tasks.outcome import outcome
from ..training.evaluate import on_fastest, predict_logits
from .measurement import Kept, Scored, Scores, logits_of


def with_mended(
    variants: Sequence[Variant],
    scores: Scores,
    models: Mapping[str, Path],
    task: Task,
    data: Encoded,
    calibration: Encoded,
    threads: int,
    kept: Kept,
) -> tuple[list[Variant], Scores]:
    """Variants and scores with mended files in the place of those in int8 that do not agree, where that helps.

    A file is written anew where it was, so that whoever opens it again opens the mended one. models: folders by name.
    kept: writes down which maps stay before a file is touched, for a resumed search finds a file that agrees already.
    """
    found, scored = [], dict(scores)
    for one in variants:
        known = scores.get((one.name, one.backend))
        if one.backend in INT8 and known is not None and known.agreement is not None:
            trials = Trials(one, models[one.name], task, data, calibration, threads)
            find = partial(trials.maps_to_keep, known.agreement)
            for mended in kept(f"mended-{one.name}-{one.backend}", list[Mended], find):
                one, scored[one.name, one.backend] = trials.with_kept(mended)
        found.append(one)
    return found, scored


@dataclasses.dataclass(frozen=True)
class Trials:
    """Files that are tried in the place of a variant's. folder: of its model."""

    variant: Variant
    folder: Path
    task: Task
    data: Encoded
    calibration: Encoded
    threads: int

    def maps_to_keep(self, before: float) -> list[Mended]:
        """Which maps stay, to be written down; none where the file agrees, and where no few maps are enough.

        before: its agreement now.
        """
        if agrees(before):
            return []
        found = maps_to_keep(self._model, self._file, self.variant.backend, self.calibration, before, self._agrees)
        return [] if found is None else [found]

    def with_kept(self, mended: Mended) -> tuple[Variant, Scored]:
        """The variant with the file in which these maps stay, and what it scores."""
        write_mended(self._model, self._file, self.variant.backend, self.calibration, mended.kept)
        opened = self._opened(self._file)
        return opened, self._scored(opened)._replace(mended=mended)

    @property
    def _file(self) -> Path:
        assert self.variant.path is not None
        return self.variant.path

    @cached_property
    def _model(self) -> TrimformerWithHead:
        return load_with_head(self.folder)

    @cached_property
    def _exact(self) -> np.ndarray:
        """The logits of the model in fp32 on the data."""
        logits = predict_logits(on_fastest(self._model), self.data, title="Scoring PyTorch")
        self._model.cpu()
        return logits

    def _opened(self, path: Path) -> Variant:
        return self.variant.run_by(open_backend(path, self.variant.backend, self.threads, self._file.parent))

    def _scored(self, variant: Variant) -> Scored:
        logits = logits_of(variant, self.data)
        score = outcome(self.task, self.data, logits).scores[self.task.metrics[0]]
        return Scored(score, agreement_of(variant.session, self.data, self._exact, logits))

    def _agrees(self, path: Path, kept: Sequence[str]) -> bool:
        return agrees(self._scored(self._opened(path)).agreement)
