"""The laws are about the files that users get."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.exporter import own_exporter


@pytest.fixture(scope="package", autouse=True)
def _own_exporter() -> Iterator[None]:
    with own_exporter():
        yield
