"""Export for other runtimes, each file checked against PyTorch: on random inputs, and on a task's rows where given."""

from __future__ import annotations

import copy
import dataclasses
import functools
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from ..encoder import TrimformerForQuestionAnswering, TrimformerWithHead
from ..errors import TrimformerError, explain_write_errors
from ..inference.runtimes.backends import FILE_BACKENDS, open_backend, parts
from ..inference.runtimes.exits import ExitSession
from ..inference.runtimes.session import Session
from ..saved.tokenizer_check import name_inputs
from ..tasks.encoding.encoded import Encoded
from ..tasks.kinds import KINDS
from ..tasks.outcome import Outcome
from ..tasks.settings import TaskSettings
from .agreement import agrees, warning
from .mend import Mended, maps_to_keep, write_mended
from .onnx import Model, random_inputs
from .pieces import segments_of
from .scoring import Judge, Scorer
from .thresholds import keep_thresholds, settle
from .writers import CALIBRATED, INT8, save_config, write

MAX_FP32_ERROR = 1e-4
CHECK_SHAPES = ((1, 5), (3, 40), (32, 16), (8, 64))  # (batch, length)
DEFAULT_PRECISIONS = {"onnx": ("fp32", "int8"), "openvino": ("fp32", "int8"), "torch": ("fp32",)}

FORMATS = tuple(DEFAULT_PRECISIONS)


@dataclasses.dataclass(frozen=True)
class ExportedFile:
    """One exported file and how far it is from the PyTorch model.

    backend: what runs it, a name of ``FILE_BACKENDS``. bytes: size on disk.
    max_abs_error: largest difference of a logit, at any exit (of a hidden state, for a bare body), over padded batches
        of random tokens of several shapes. Random tokens are a harder test than text: give a task for the score.
    random_agreement: share of these inputs with the same arg-max label; None where there are no labels.
    agreement: share of the answers that are those of PyTorch in fp32, on the validation rows of a task where there is
        one, else on these inputs; None for a bare body, which has no answers. With exits, at the threshold of fp32.
    largest_output: largest absolute output on these inputs.
    metric: the name of the task's. score: that metric on its validation rows. score_drop: by how much it is worse than
        that of PyTorch in fp32, in points (hundredths), of an error in its own unit. All None without a task.
    calibration: what set the ranges of static int8. mended: what stays in fp32 of an int8 file that would not agree
        with fp32 else; None: nothing. threshold: of the exits, where it was chosen by the answers of the file itself.
    """

    path: Path
    backend: str
    precision: str
    bytes: int
    max_abs_error: float
    random_agreement: float | None
    largest_output: float
    score: float | None = None
    score_drop: float | None = None
    calibration: str | None = None
    metric: str | None = None
    agreement: float | None = None
    mended: Mended | None = None
    threshold: float | None = None

    def note(self, name: str) -> str | None:
        """What has to be said of the agreement, under this name of the file; None: nothing."""
        if self.agreement is None:
            return None
        if self.mended is None:
            return None if agrees(self.agreement) else warning(name, self.agreement, self.asked)
        return self.mended.note(name, self.agreement, self.asked)

    @property
    def asked(self) -> str:
        """What the agreement is of."""
        return "random inputs" if self.score is None else "validation rows"


def export(
    model: Model,
    folder: str | Path,
    to: str = "onnx",
    precision: Sequence[str] | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    task: TaskSettings | None = None,
) -> list[ExportedFile]:
    """Write the files of a runtime into ``folder``; the model is not changed.

    to: ``onnx``, ``openvino`` or ``torch`` (torch.export). precision: of that runtime's in ``FILE_BACKENDS``; None =
    fp32 and int8, for torch fp32.
    tokenizer: its files and config.json go into the folder too, so that the folder can be used alone.
    task: its training rows (never its validation rows) set the ranges of static int8, and each file is scored on its
    validation rows; needs a tokenizer. Without it static int8 gets its ranges from random tokens.

    Where an int8 file gives fewer than 98 % of the answers of fp32, the maps that cost it stay in fp32 (``mended``).
    With a task, a file of a model with exits that rounds gets a threshold of its own, which is written to config.json.

    Inputs input_ids, attention_mask, token_type_ids: int64 (batch, n), all three always given. Output
    ``logits`` (batch, labels), for tokens (batch, n, labels), for spans (batch, n, 2: start and end), or
    ``last_hidden_state`` (batch, n, hidden) of a bare body. A model with exits becomes one file for each segment, see
    :mod:`trimformer.inference.runtimes.segments`, with config.json beside them.

    Raises TrimformerError for a format or precision that there is not, where an extra is missing, the folder cannot be
    written, or an fp32 file differs from PyTorch by more than 1e-4 (of the largest output, where that is above 1);
    then no file is left.
    """
    return export_all(model, folder, chosen_backends(to, precision), tokenizer, scorer_for(model, tokenizer, task))


def chosen_backends(to: str, precision: Sequence[str] | None) -> list[str]:
    """Names of ``FILE_BACKENDS`` for a runtime and precisions; TrimformerError for what there is not."""
    if to not in FORMATS:
        raise TrimformerError(f"Cannot export to {to!r}: use one of {', '.join(FORMATS)}.")
    names = {found.precision: name for name, found in FILE_BACKENDS.items() if found.folder == to}
    wanted = list(dict.fromkeys(precision or DEFAULT_PRECISIONS[to]))
    unknown = [name for name in wanted if name not in names]
    if unknown:
        raise TrimformerError(f"There is no {unknown[0]!r} for {to}: use some of {', '.join(names)}.")
    return [names[name] for name in wanted]


def scorer_for(model: Model, tokenizer: PreTrainedTokenizerBase | None, task: TaskSettings | None) -> Scorer | None:
    """What scores files on a task; TrimformerError where the model has no head or no tokenizer for it."""
    if task is None:
        return None
    if not isinstance(model, TrimformerWithHead) or tokenizer is None:
        raise TrimformerError("A score needs a model with a task head and its tokenizer: give a fine-tuned model.")
    return Scorer(model, tokenizer, task)


def export_all(
    model: Model,
    folder: str | Path,
    backends: Sequence[str],
    tokenizer: PreTrainedTokenizerBase | None,
    scorer: Judge | None,
) -> list[ExportedFile]:
    """The same for back-ends by name."""
    folder = Path(folder)
    with explain_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".export-") as scratch:
            exporter = _Exporter(model, Path(scratch), scorer)
            exported = [exporter.file(backend) for backend in backends]
            for file in exported:
                for part in reversed(parts(file.path)):  # weights first
                    if part.is_file():  # of two precisions of the same file the first has moved it
                        part.replace(folder / part.name)
        save_tokenizer(model, folder, tokenizer)
        if segments_of(model) > 1:
            keep_thresholds(folder, thresholds_of(exported))
    return [dataclasses.replace(file, path=folder / file.path.name) for file in exported]


class _Exporter:
    """Writes files into a folder, and checks each."""

    def __init__(self, model: Model, folder: Path, scorer: Judge | None) -> None:
        self.model = copy.deepcopy(model).cpu().float().eval()
        self.folder, self.scorer = folder, scorer
        self.outcomes: dict[Path, Outcome] = {}

    @functools.cached_property
    def texts(self) -> Encoded | None:
        """What shows outliers and sets ranges; None: random tokens do."""
        return None if self.scorer is None else self.scorer.training_texts()

    def file(self, backend: str) -> ExportedFile:
        """One file; in int8 some maps stay in fp32 where its answers would be others."""
        free = self.model.config.input_ranges is None
        calibrated = backend in CALIBRATED and free
        texts = self.texts if backend in INT8 and free else None
        file = self._checked(write(self.model, backend, self.folder, texts), backend)
        if backend in INT8 and file.agreement is not None and not agrees(file.agreement):
            file = self._mended(file, file.agreement)
        if self.scorer is not None:
            file = self._settled(file) if segments_of(self.model) > 1 and file.precision != "fp32" else file
            self.scorer.keep(backend, self.outcomes[file.path])
        if not calibrated:
            return file
        return dataclasses.replace(file, calibration="random tokens" if texts is None else "training texts")

    def _checked(self, path: Path, backend: str) -> ExportedFile:
        session = open_backend(path, backend, folder=self.folder)
        file = _compared(self.model, session, path, backend)
        if self.scorer is None:
            return file
        self.outcomes[path], same = self.scorer.judge(session)
        return dataclasses.replace(self._scored(file), agreement=same)

    def _scored(self, file: ExportedFile) -> ExportedFile:
        """The file with the score of what it answered last."""
        assert self.scorer is not None
        metric, score = self.scorer.task.metric, self.scorer.score(self.outcomes[file.path])
        drop = metric.drop(score - self.scorer.reference)
        return dataclasses.replace(file, metric=metric.name, score=score, score_drop=drop)

    def _settled(self, file: ExportedFile) -> ExportedFile:
        """The file with a threshold of its own, which its score is then measured at; the same without rows for it."""
        assert self.scorer is not None
        rows = self.scorer.selection_rows()
        if rows is None:
            return file
        session: Any = open_backend(file.path, file.backend, folder=self.folder)
        threshold = settle(session, self.scorer.task, rows)
        self.outcomes[file.path], _ = self.scorer.judge(session)
        return dataclasses.replace(self._scored(file), threshold=threshold)

    def _mended(self, file: ExportedFile, before: float) -> ExportedFile:
        """The file with the fewest maps in fp32 with which it agrees; as it is where too many would be needed."""
        tried: dict[int, ExportedFile] = {}

        def agrees_at(path: Path, kept: Sequence[str]) -> bool:
            tried[len(kept)] = self._checked(path, file.backend)
            return agrees(tried[len(kept)].agreement)

        found = maps_to_keep(self.model, file.path, file.backend, self.texts, before, agrees_at)
        if found is None:
            return file
        write_mended(self.model, file.path, file.backend, self.texts, found.kept)
        chosen = tried[len(found.kept)]
        if self.scorer is not None:
            self.outcomes[file.path] = self.outcomes[chosen.path]
        return dataclasses.replace(chosen, path=file.path, mended=found)


def notes_of(files: Sequence[ExportedFile]) -> list[str]:
    """A sentence for each file that does not answer as the model does in fp32, or does with maps in fp32 alone, and for
    each whose texts leave at a threshold of its own."""
    notes = [note for file in files if (note := file.note(file.backend)) is not None]
    return notes + [own_threshold(file.backend, file.threshold) for file in files if file.threshold is not None]


def own_threshold(name: str, threshold: float) -> str:
    """The sentence on a file of this name whose threshold was chosen by its own answers."""
    return f"{name}: its texts leave at the threshold {threshold:g}, chosen by its own answers on the selection rows."


def thresholds_of(files: Sequence[ExportedFile]) -> dict[str, float | None]:
    """The thresholds that were chosen for files, by their back-ends; None: none was."""
    return {file.backend: file.threshold for file in files}


def save_tokenizer(model: Model, folder: Path, tokenizer: PreTrainedTokenizerBase | None) -> None:
    """What makes a folder with an exported file usable alone: the tokenizer, and the model's config.json.

    Without a tokenizer the files of a model with exits still need config.json.
    """
    if tokenizer is not None:
        name_inputs(tokenizer)
        tokenizer.save_pretrained(folder)
    if tokenizer is not None or segments_of(model) > 1:
        save_config(model, folder)


def _compared(model: Model, session: Session, path: Path, backend: str) -> ExportedFile:
    """Compare a file with PyTorch on padded batches of several shapes."""
    has_labels = isinstance(model, TrimformerWithHead) and len(model.config.id2label or ()) > 1
    spans = isinstance(model, TrimformerForQuestionAnswering)
    errors, same, largest = [], [], 0.0
    answers: list[tuple[Tensor, Tensor]] = []
    for seed, (batch, length) in enumerate(CHECK_SHAPES):
        length = min(length, model.config.max_tokens)
        inputs = random_inputs(model.config, batch, length, padded=True, seed=seed)
        with torch.inference_mode():
            out = model(**inputs)
        expected, got = _values(out), torch.from_numpy(session.run(inputs))
        every = _at_exits(model, session, inputs) if isinstance(session, ExitSession) else [(expected, got)]
        real = inputs["attention_mask"].bool()
        if spans:  # the most probable first and last token stand for the label
            ends = (values.masked_fill(~real[..., None], -torch.inf).argmax(1).flatten() for values in (expected, got))
            same += torch.eq(*ends).tolist()
        if expected.ndim == 3:
            expected, got = expected[real], got[real]
        answers.append((expected, got))
        errors += [float((one - other)[real if one.ndim == 3 else ...].abs().max()) for one, other in every]
        largest = max(largest, float(expected.abs().max()))
        if not spans:
            same += (expected.argmax(-1) == got.argmax(-1)).tolist()
    precision = FILE_BACKENDS[backend].precision
    error = float(np.max(errors))  # np.max keeps a NaN, which max() may lose
    allowed = MAX_FP32_ERROR * max(1.0, largest)
    if precision == "fp32" and not error <= allowed:  # a NaN does not show parity either
        raise TrimformerError(
            f"The exported graph differs from PyTorch by {error:.1e} (allowed {allowed:.0e}), so it was not kept: "
            f"report this with your versions of torch and {FILE_BACKENDS[backend].runtime}."
        )
    size = sum(part.stat().st_size for part in parts(path))
    labels = float(np.mean(same)) if has_labels else None
    file = ExportedFile(path, backend, precision, size, error, labels, largest, agreement=labels)
    if isinstance(model, TrimformerWithHead) and not spans:
        exact, other = (torch.cat(part).numpy() for part in zip(*answers, strict=True))
        file = dataclasses.replace(file, agreement=float(KINDS[model.kind].same(None, exact, other).mean()))
    return file


def _at_exits(model: Model, session: ExitSession, inputs: dict[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
    """What PyTorch and the files say of all rows at each exit and at the end: a row may leave at another exit by a
    rounding error."""
    with torch.inference_mode():
        out = model(**inputs, output_exits=True)
    return list(zip([*out.exit_logits, out.logits], map(torch.from_numpy, session.run_through(inputs)), strict=True))


def _values(output: Any) -> Tensor:
    values: Tensor = output.logits if hasattr(output, "logits") else output.last_hidden_state
    return values
