"""What a search reads back of its own is checked: it becomes folders."""

from __future__ import annotations

import pytest

from trimformer.errors import TrimformerError
from trimformer.search.schedule.halving import Point


@pytest.mark.parametrize(("name", "folder"), [("../../mine", "0-a"), ("a", "/mine"), ("a", "..")])
def test_a_name_that_leads_out_of_the_run_is_refused(name: str, folder: str) -> None:
    with pytest.raises(TrimformerError, match="names no model of a search"):
        Point(name, "nothing", 1.0, folder)
