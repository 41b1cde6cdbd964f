"""What a task is: its rows, labels, metric and tokenised batches."""

from .encode import Encoded, encode
from .encoding.batches import bucketed_batches
from .outcome import Outcome, outcome
from .settings import TaskSettings
from .task import Examples, Task, TaskData, load_task, load_validation, with_label_order

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
