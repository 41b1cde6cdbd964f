"""What a task is: its rows, labels, metric and tokenised batches."""

from trimformer.tasks.batches import bucketed_batches
from trimformer.tasks.encode import Encoded, encode
from trimformer.tasks.outcome import Outcome, outcome
from trimformer.tasks.settings import TaskSettings
from trimformer.tasks.task import Examples, Task, TaskData, load_task, load_validation, with_label_order

__all__ = [
    "Encoded",
    "Examples",
    "Outcome",
    "Task",
    "TaskData",
    "TaskSettings",
    "bucketed_batches",
    "encode",
    "load_task",
    "load_validation",
    "outcome",
    "with_label_order",
]
