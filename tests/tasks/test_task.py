import pytest

from trimformer.errors import TrimformerError
from trimformer.tasks.data import Examples, Task, TaskData
from trimformer.tasks.settings import TaskSettings
from trimformer.tasks.task import load_task, with_label_order


def data(*labels: str, metrics: tuple[str, ...] = ("accuracy",)) -> TaskData:
    part = Examples(["x", "y"], None, [0, 1])
    return TaskData(Task("custom", "classification", labels, metrics, "here"), part, part, part)


def test_unknown_task_suggests_the_nearest() -> None:
    with pytest.raises(TrimformerError, match=r"'SST-2', which is not a task: name one of .*\. Did you mean 'sst2'\?"):
        load_task(TaskSettings(name="SST-2"))


@pytest.mark.parametrize("extra", [{"text": "t"}, {"kind": "regression"}, {"train": "a.csv"}, {"data": "a"}])
def test_settings_that_would_be_ignored(extra: dict[str, object]) -> None:
    with pytest.raises(TrimformerError, match=rf"task\.{next(iter(extra))} has no meaning for sentiment"):
        load_task(TaskSettings(name="sentiment", **extra))  # type: ignore[arg-type]


def test_label_order() -> None:
    turned = with_label_order(data("no", "yes"), ["YES", "NO"])
    assert turned.task.labels == ("YES", "NO")
    assert turned.task.positive == 0
    assert turned.train.labels == turned.selection.labels == turned.validation.labels == [1, 0]


def test_label_order_of_a_nameless_model_keeps_ids() -> None:
    assert with_label_order(data("no", "yes"), ["LABEL_0", "LABEL_1"]).train.labels == [0, 1]


def test_other_labels_are_refused() -> None:
    with pytest.raises(TrimformerError, match=r"\(no, yes\) are not those of the model \(red, blue\)"):
        with_label_order(data("no", "yes"), ["red", "blue"])


def test_label_order_of_regression() -> None:
    part = Examples(["x"], None, [0.5])
    numbers = TaskData(Task("custom", "regression", (), ("pearson",), "here"), part, part, part)
    assert with_label_order(numbers, ["LABEL_0"]) == numbers
    with pytest.raises(TrimformerError, match="the model has 2 classes"):
        with_label_order(numbers, ["a", "b"])
