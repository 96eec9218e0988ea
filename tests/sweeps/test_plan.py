"""How many jobs to a batch."""

from __future__ import annotations

from composer.sweeps.plan import MOST, Sizes
from composer.system import memory


def grown(*batches: tuple[float, bool]) -> list[int]:
    """Sizes that are tried, for seconds an image and whether there is room."""
    sizes, found = Sizes("auto"), []
    for seconds, room in batches:
        found.append(sizes.next())
        sizes.ran(found[-1], seconds, room)
    return [*found, sizes.next()]


def test_batches_grow_while_that_makes_a_picture_cheaper():
    assert grown((1.0, True), (0.8, True), (0.7, True)) == [1, 4, MOST, MOST]
    assert grown((1.0, True), (0.8, True), (0.79, True)) == [1, 4, 16, 16], "at the most there is nothing to decide"
    assert grown((1.0, True), (1.2, True), (1.0, True)) == [1, 4, 1, 1]


def test_batches_grow_only_where_memory_is_left():
    assert grown((1.0, False), (0.8, True)) == [1, 1, 1]
    assert grown((1.0, True), (0.8, False), (0.8, True)) == [1, 4, 4, 4]


def test_a_smaller_rest_tells_nothing():
    sizes = Sizes("auto")
    sizes.ran(1, 1.0)
    sizes.ran(1, 9.0)
    assert sizes.next() == 4


def test_memory_that_ran_out_halves():
    for asked in ("auto", 8):
        sizes = Sizes(asked)
        sizes.failed(8)
        assert sizes.next() == 4
        sizes.ran(4, 0.1)
        assert sizes.next() == 4, "it ran out at eight"
        sizes.failed(1)
        assert sizes.next() == 1


def test_the_machine_tells_its_memory():
    assert memory.peak_memory() > 1e6
    free = memory.free_memory()
    assert free is None or free > 1e6
    assert memory.fits_in_memory(2) in (True, False)
