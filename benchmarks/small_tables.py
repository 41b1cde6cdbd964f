"""The table of benchmarks/small_files.py: what each way to write weights in fewer bits costs and saves."""

from __future__ import annotations

from typing import Any

Table = tuple[list[str], list[list[str]]]

WAYS = {
    "gobo-3-3": "gobo, 3 bits",
    "gobo-3-4": "gobo, 3 bits, 4 in embeddings",
    "gobo-4-3": "gobo, 4 bits, 3 in embeddings",
    "gobo-4-4": "gobo, 4 bits",
    "round-embedding-8": "round-to-nearest, embeddings in 8 bits",
    "round-embedding-4": "round-to-nearest, embeddings in 4 bits",
    "round-8": "round-to-nearest, 8 bits",
    "round-4": "round-to-nearest, 4 bits",
    "round-3": "round-to-nearest, 3 bits",
    "finetune-round-4": "an epoch of distillation, then round-to-nearest, 4 bits",
    "finetune-round-3": "an epoch of distillation, then round-to-nearest, 3 bits",
    "q-bert-4": "q-bert, 4 bits",
    "q-bert-3-4": "q-bert, 3 and 4 bits, 4 in embeddings",
    "q-bert-3": "q-bert, 3 bits",
    "round-4-codebook": "round-to-nearest, 4 bits, then codebook-embedding",
    "vocabulary-gobo-4-3": "vocabulary, then gobo, 4 bits, 3 in embeddings",
    "factorise-192": "factorise-embedding, 192 of 384 dimensions",
    "factorise-128": "factorise-embedding, 128 of 384 dimensions",
}
"""Runs in the order of the table, and what they are called there."""


def runs(found: dict[str, Any]) -> Table:
    """A row for each task, run and seed: score, change with its 95 % interval, bytes of the file and their share."""
    rows = []
    for task in dict.fromkeys(key.split()[0] for key in found):
        for name, title in WAYS.items():
            for key, run in found.items():
                if key.rpartition(" seed ")[0] != f"{task} {name}":
                    continue
                test, metric = run["comparison"], run["metric"]
                before, after = run["bytes"]
                rows.append([
                    task, title, f"{100 * run['dense_scores'][metric]:.1f}", f"{100 * run['scores'][metric]:.1f}",
                    f"{100 * test['difference']:+.1f} ({100 * test['low']:+.1f} to {100 * test['high']:+.1f})",
                    f"{after / 1e6:.1f} MB", f"{after / before:.1%}", key.rpartition(" ")[2],
                ])  # fmt: skip
    return ["task", "run", "dense", "score", "change (95 %)", "file", "of the fp32 file", "seed"], rows
