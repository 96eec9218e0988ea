"""Sizes of images and the order of the data."""

from __future__ import annotations

from collections import Counter

import pytest

from composer.training.buckets import bucket_sizes, cover, nearest_bucket
from composer.training.order import BatchOrder, derive_seed


@pytest.mark.parametrize(("resolution", "multiple"), [(512, 64), (1024, 128), (64, 8), (128, 16)])
def test_buckets_are_multiples_of_about_one_area(resolution, multiple):
    sizes = bucket_sizes(resolution, multiple)
    assert (resolution, resolution) in sizes and len(set(sizes)) == len(sizes)
    for height, width in sizes:
        assert height % multiple == width % multiple == 0
        assert 0.6 * resolution**2 < height * width <= resolution**2
        assert max(height, width) <= 2 * resolution


@pytest.mark.parametrize(
    ("size", "bucket"), [((600, 600), (512, 512)), ((640, 480), (448, 576)), ((100, 900), (1024, 256))]
)
def test_an_image_gets_the_bucket_of_its_shape(size, bucket):
    assert nearest_bucket(size, bucket_sizes(512, 64)) == bucket


@pytest.mark.parametrize("size", [(640, 480), (10, 300), (64, 64), (31, 77)])
def test_an_image_covers_its_bucket(size):
    (wide, high), (left, top, right, bottom) = cover(size, 96, 64)
    assert (right - left, bottom - top) == (64, 96) and left >= 0 <= top and right <= wide and bottom <= high
    assert wide == 64 or high == 96


def test_each_epoch_has_every_image_once_in_batches_of_one_bucket():
    buckets = ["a", "b", "a", "a", "b", "a", "a"]
    order = BatchOrder(buckets, 2, seed=3)
    epochs = [[order.batch_at(epoch * order.per_epoch + i) for i in range(order.per_epoch)] for epoch in range(3)]
    for batches in epochs:
        assert Counter(index for batch in batches for index in batch) == Counter(range(7))
        assert all(len({buckets[index] for index in batch}) == 1 for batch in batches)
    assert epochs[0] != epochs[1] != epochs[2]


def test_the_order_is_that_of_the_seed_wherever_one_begins():
    one, other = (BatchOrder(["a"] * 9, 2, seed=3) for _ in range(2))
    complete = [one.batch_at(number) for number in range(20)]
    assert [other.batch_at(number) for number in (13, 2, 19)] == [complete[13], complete[2], complete[19]]
    assert complete != [BatchOrder(["a"] * 9, 2, seed=4).batch_at(number) for number in range(20)]


def test_seeds_differ_by_purpose_and_step():
    seeds = [derive_seed(0, name, step) for name in ("noise", "order") for step in range(50)]
    assert len(set(seeds)) == 100 and all(0 <= seed < 2**63 for seed in seeds)
