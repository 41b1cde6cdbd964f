import pytest
from pydantic import ValidationError

from trimformer.tasks.settings import TaskSettings


def test_defaults() -> None:
    settings = TaskSettings()
    assert (settings.name, settings.kind, settings.max_length, settings.selection) == (
        "custom",
        "auto",
        None,
        0.15,
    )


@pytest.mark.parametrize(
    "wrong", [{"max_length": 7}, {"selection": 0}, {"selection": 0.5}, {"train_limit": 0}, {"txt": "a"}]
)
def test_rejects(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TaskSettings(**wrong)  # type: ignore[arg-type]
