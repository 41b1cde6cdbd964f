"""The plan of a time budget."""

import math

import pytest

from trimformer.search.schedule.plan import DENSE, LOOKING, share_out


@pytest.mark.parametrize("trains", [True, False])
def test_all_of_the_time_is_shared_out(trains: bool) -> None:
    shares = share_out(100.0, 100 * DENSE, trains=trains)
    assert sum(shares.values()) == pytest.approx(100)
    assert (shares["training"] > 0) == trains
    assert shares["candidates"] >= LOOKING * 60
    assert min(share_out(10.0, 40.0, trains=trains).values()) == 0


def test_without_a_limit_nothing_has_one() -> None:
    assert set(share_out(math.inf, 0.0, trains=True).values()) == {math.inf}
