"""Images of edits: the scenes of the training set after one change each, rendered once and kept on disk."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from composer.tiny.data import CHUNK
from composer.tiny.edits import Edit, sample_edit
from composer.tiny.render import render
from composer.tiny.scenes import sample_scene


def edits(count: int, seed: int, pairs: str = "seen") -> list[Edit]:
    """Sample one change of each of the first scenes of a set.

    Args:
        count: Number of scenes; edit i does not depend on it.
        seed: Seed of the set.
        pairs: As for `sample_scene` and `sample_edit`.

    Returns:
        The edits, in the order of the scenes.
    """
    return [_edit(seed, i, pairs) for i in range(count)]


def edited_images(folder: Path, count: int, seed: int, size: int, pairs: str = "seen", workers: int = 1) -> np.ndarray:
    """Render the scenes of a set after their changes, or open the file of an earlier call.

    Args:
        folder: Directory of the file.
        count: Number of scenes.
        seed: Seed of the set.
        size: Pixels of an image's side.
        pairs: As for `edits`.
        workers: Processes that render.

    Returns:
        (N, size, size, 3) uint8, memory-mapped.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{pairs}-{seed}-{count}-{size}-edited.npy"
    if not path.exists():
        jobs = [(seed, start, min(start + CHUNK, count), size, pairs) for start in range(0, count, CHUNK)]
        draft = path.with_suffix(".draft.npy")
        with ProcessPoolExecutor(workers) as pool:
            rows = np.lib.format.open_memmap(draft, mode="w+", dtype=np.uint8, shape=(count, size, size, 3))
            for job, some in zip(jobs, pool.map(_render_chunk, jobs)):
                rows[job[1] : job[2]] = some
                print(f"edits {job[2]}/{count}", flush=True)
        rows.flush()
        draft.rename(path)
    return np.load(path, mmap_mode="r")


def _render_chunk(job: tuple[int, int, int, int, str]) -> np.ndarray:
    seed, start, stop, size, pairs = job
    return np.stack([render(_edit(seed, i, pairs).after, size).image for i in range(start, stop)])


def _edit(seed: int, i: int, pairs: str) -> Edit:
    scene = sample_scene(np.random.default_rng((seed, i)), pairs)
    return sample_edit(scene, np.random.default_rng((seed, i, 2)), pairs)
