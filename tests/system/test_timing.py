"""No ratio is printed for a difference within the noise, nor for a single measurement."""

from __future__ import annotations

import pytest

from composer.system.timing import describe_speedup, speedup


@pytest.mark.parametrize(
    ("first", "other", "message"),
    [
        ([2.0, 2.2], [1.0, 1.1], "2.00 x"),
        ([1.0, 1.1], [2.0, 2.2], "0.50 x"),
        ([1.0, 1.1], [1.05, 0.9], "no difference beyond the noise"),
        ([1.0, 1.2], [1.0, 1.2], "no difference beyond the noise"),
        ([9.0, 1.0, 1.1], [1.05, 0.9, 1.0], "no difference beyond the noise"),  # the first run of a process warms it up
        ([2.0], [1.0], "measured once"),
        ([2.0, 2.0], [1.0, 1.1], "measured once"),  # jobs of one batch share a measurement
    ],
)
def test_only_ranges_that_do_not_overlap_have_a_ratio(first, other, message):
    assert describe_speedup(first, other) == message
    assert (speedup(first, other) is None) == (not message.endswith(" x"))


def test_a_thing_is_not_faster_than_itself():
    taken = [1.0, 0.2, 0.7]
    assert speedup(taken, taken) is None
