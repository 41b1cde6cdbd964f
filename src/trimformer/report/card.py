"""The README.md of a trimmed model's folder: how to load it, what was removed, how it scores, how fast it is."""

from __future__ import annotations

import re
from typing import Any, Protocol

import yaml

from . import numbers, summary
from .schema import Report, TaskInfo
from .templating import environment
from .variants_table import table

HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
HUB_NAMES = {"demo": "sentence-transformers/all-MiniLM-L6-v2"}
# kind of task: the hub's name for it, and the class that loads such a model
USE = {
    "classification": ("text-classification", "AutoModelForSequenceClassification"),
    "ranking": ("text-ranking", "AutoModelForSequenceClassification"),
    "tokens": ("token-classification", "AutoModelForTokenClassification"),
    "masked-lm": ("fill-mask", "AutoModelForMaskedLM"),
    "spans": ("question-answering", "AutoModelForQuestionAnswering"),
    "embedding": ("sentence-similarity", "SentenceTransformer"),
}
HUB_METRICS = {
    "f1_macro": "f1",
    "f1_micro": "f1",
    "matthews": "matthews_correlation",
    "pearson": "pearsonr",
    "spearman": "spearmanr",
}


def model_card(report: Report, repo_name: str) -> str:
    """The card in markdown. repo_name: folder or hub id that ``from_pretrained`` takes.

    The licence is left out, because the report does not know it. Raises TrimformerError where jinja2 is missing.
    """
    trimmed, removed = report.variant("trimmed"), set(report.removed_layers())
    fates = [(layer.index, layer.about) for layer in (trimmed.layers if trimmed else []) if layer.index in removed]
    method = re.split(r"[\s,]", report.method, maxsplit=1)[0].lower()
    return render(
        "model_card.md",
        report,
        repo_name,
        method,
        headline=summary.headline(report),
        details=summary.details(report),
        interval=summary.interval_words(report.comparison),
        rows=table(report),
        removed=[
            ([index for index, said in fates if said == about], about)
            for about in dict.fromkeys(said for _, said in fates)
        ],
        sizes=summary.size_words(report),
        trimmed=trimmed,
        exported=bool(report.export),
        timed=True,
        numbers=numbers,
    )


class Carded(Protocol):
    """What every card says of a run."""

    @property
    def model(self) -> str: ...

    @property
    def task(self) -> TaskInfo: ...


def render(template: str, report: Carded, repo_name: str, method: str, **values: Any) -> str:
    """A card from its template: what all cards have, and these values."""
    env = environment()
    env.filters["plain"] = plain
    return env.get_template(template).render(
        report=report,
        name=repo_name,
        front_matter=yaml.safe_dump(front_matter(report, method), sort_keys=False, allow_unicode=True),
        auto_class=USE.get(report.task.kind, USE["classification"])[1],
        **values,
    )


def front_matter(report: Carded, method: str) -> dict[str, Any]:
    """What the Hugging Face hub reads; base_model only where the source looks like a hub id."""
    base = HUB_NAMES.get(report.model, report.model)
    return {
        "library_name": "trimformer",
        "pipeline_tag": USE.get(report.task.kind, USE["classification"])[0],
        **({"base_model": base} if HUB_ID.fullmatch(base) else {}),
        "tags": list(dict.fromkeys(["trimformer", "compression", *([method] if method else [])])),
        "metrics": [HUB_METRICS.get(report.task.metric, report.task.metric)],
    }


def plain(value: object) -> str:
    """Text that markdown shows as it is, on one line, also inside a table."""
    text = " ".join(str(value).split())
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", text)
