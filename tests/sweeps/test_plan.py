"""How many jobs to a batch."""

from __future__ import annotations

from composer.sweeps.plan import MAX_BATCH_JOBS, BatchSize
from composer.system import memory


def grown(*batches: tuple[float, bool]) -> list[int]:
    """Batch sizes that are tried, for seconds an image and whether memory is left."""
    sizes, results = BatchSize("auto"), []
    for seconds, space in batches:
        results.append(sizes.size)
        sizes.record_run(results[-1], seconds, space)
    return [*results, sizes.size]


def test_batches_grow_while_that_makes_an_image_cheaper():
    assert grown((1.0, True), (0.8, True), (0.7, True)) == [1, 4, MAX_BATCH_JOBS, MAX_BATCH_JOBS]
    assert grown((1.0, True), (0.8, True), (0.79, True)) == [1, 4, 16, 16], "at the most there is nothing to decide"
    assert grown((1.0, True), (1.2, True), (1.0, True)) == [1, 4, 1, 1]


def test_batches_grow_only_where_memory_is_left():
    assert grown((1.0, False), (0.8, True)) == [1, 1, 1]
    assert grown((1.0, True), (0.8, False), (0.8, True)) == [1, 4, 4, 4]


def test_a_smaller_last_batch_is_not_measured():
    sizes = BatchSize("auto")
    sizes.record_run(1, 1.0)
    sizes.record_run(1, 9.0)
    assert sizes.size == 4


def test_memory_that_ran_out_halves():
    for requested in ("auto", 8):
        sizes = BatchSize(requested)
        sizes.record_failure(8)
        assert sizes.size == 4
        sizes.record_run(4, 0.1)
        assert sizes.size == 4, "it ran out at eight"
        sizes.record_failure(1)
        assert sizes.size == 1


def test_free_memory_of_the_machine_is_known():
    assert memory.peak_memory() > 1e6
    free = memory.free_memory()
    assert free is None or free > 1e6
    assert memory.fits_in_memory(2) in (True, False)
