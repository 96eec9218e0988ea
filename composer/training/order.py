"""Order of the data and seeds of the noise: functions of the seed and the step, so that a resumed training has them."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Hashable, Sequence


def derive_seed(seed: int, *names: Hashable) -> int:
    """Derive a seed for one purpose from the seed of the training.

    Args:
        seed: Seed of the training.
        names: What it is for, such as ``"noise"`` and the step.

    Returns:
        A number in ``[0, 2⁶³ − 1]``.
    """
    digest = hashlib.sha256(repr((seed, *names)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


class BatchOrder:
    """The batches of a training: each epoch has every image once, in an order of its own.

    Args:
        buckets: Bucket of each image; a batch is of one bucket.
        batch: Images in a batch; the last one of a bucket may have fewer.
        seed: Seed of the training.
    """

    def __init__(self, buckets: Sequence[Hashable], batch: int, seed: int) -> None:
        self.batch, self.seed = batch, seed
        self.members: dict[Hashable, list[int]] = {}
        for index, bucket in enumerate(buckets):
            self.members.setdefault(bucket, []).append(index)
        self.per_epoch = sum(-(-len(members) // batch) for members in self.members.values())
        self._epoch: tuple[int, list[list[int]]] = (-1, [])

    def batch_at(self, number: int) -> list[int]:
        """Return one batch.

        Args:
            number: Which one since the beginning, from 0.

        Returns:
            Indices of its images.
        """
        epoch, position = divmod(number, self.per_epoch)
        if self._epoch[0] != epoch:
            self._epoch = epoch, self._batches(epoch)
        return self._epoch[1][position]

    def _batches(self, epoch: int) -> list[list[int]]:
        rng = random.Random(derive_seed(self.seed, "order", epoch))
        batches = []
        for members in self.members.values():
            shuffled = rng.sample(members, len(members))
            batches += [shuffled[start : start + self.batch] for start in range(0, len(shuffled), self.batch)]
        rng.shuffle(batches)
        return batches
