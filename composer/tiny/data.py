"""The training set: scenes rendered once and kept on disk, so that every stage reads the same ones."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap

from composer.tiny.captions import CaptionFacts, caption
from composer.tiny.render import render
from composer.tiny.scenes import Scene, sample_scene

CAPTIONS = 6  # for each scene
CHUNK = 500


@dataclass(frozen=True)
class ImageSet:
    """Images of a set of scenes.

    Attributes:
        images: (N, S, S, 3) uint8.
        weights: (N, S, S) uint8, 255 on things and stars, which a loss should not overlook.
    """

    images: np.ndarray
    weights: np.ndarray


def scenes(count: int, seed: int, pairs: str = "seen") -> list[Scene]:
    """Sample the first scenes of a set.

    Args:
        count: Number of scenes; scene i does not depend on it.
        seed: Seed of the set.
        pairs: As for `sample_scene`.

    Returns:
        The scenes.
    """
    return [sample_scene(np.random.default_rng((seed, i)), pairs) for i in range(count)]


def captions(those: list[Scene], seed: int) -> list[list[tuple[str, CaptionFacts]]]:
    """Describe each scene in `CAPTIONS` ways.

    Args:
        those: The scenes of a set.
        seed: Seed of the set.

    Returns:
        For each scene its captions, each with the facts that it states.
    """
    out = []
    for i, scene in enumerate(those):
        rng = np.random.default_rng((seed, i, 1))
        out.append([caption(scene, rng) for _ in range(CAPTIONS)])
    return out


def images(folder: Path, count: int, seed: int, size: int, pairs: str = "seen", workers: int = 1) -> ImageSet:
    """Render a set of scenes, or open the files of an earlier call.

    Args:
        folder: Directory of the files.
        count: Number of scenes.
        seed: Seed of the set.
        size: Pixels of an image's side.
        pairs: As for `sample_scene`.
        workers: Processes that render.

    Returns:
        The images, memory-mapped.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{pairs}-{seed}-{count}-{size}-{kind}.npy" for kind in ("images", "weights")]
    if not all(path.exists() for path in paths):
        _render_all(paths, count, seed, size, pairs, workers)
    return ImageSet(*(np.load(path, mmap_mode="r") for path in paths))


def _render_all(paths: list[Path], count: int, seed: int, size: int, pairs: str, workers: int) -> None:
    drafts = [path.with_suffix(".draft") for path in paths]
    shapes = [(count, size, size, 3), (count, size, size)]
    images, weights = (open_memmap(d, mode="w+", dtype=np.uint8, shape=s) for d, s in zip(drafts, shapes))
    jobs = [(seed, start, min(start + CHUNK, count), size, pairs) for start in range(0, count, CHUNK)]
    with ProcessPoolExecutor(workers) as pool:
        for job, (some_images, some_weights) in zip(jobs, pool.map(_render_chunk, jobs)):
            images[job[1] : job[2]], weights[job[1] : job[2]] = some_images, some_weights
            print(f"scenes {job[2]}/{count}", flush=True)
    images.flush()
    weights.flush()
    for draft, path in zip(drafts, paths):
        draft.rename(path)


def _render_chunk(job: tuple[int, int, int, int, str]) -> tuple[np.ndarray, np.ndarray]:
    seed, start, stop, size, pairs = job
    images, weights = [], []
    for i in range(start, stop):
        scene = sample_scene(np.random.default_rng((seed, i)), pairs)
        rendering = render(scene, size)
        images.append(rendering.image)
        weights.append(np.maximum(rendering.masks.max(0, initial=0), _stars(scene, rendering.image)) * 255)
    return np.stack(images), np.stack(weights).astype(np.uint8)


def depths(folder: Path, count: int, seed: int, size: int = 64, pairs: str = "seen", workers: int = 1) -> np.ndarray:
    """Render the inverse depth of a set's scenes, or open the file of an earlier call.

    Args:
        folder: Directory of the file.
        count: Number of scenes.
        seed: Seed of the set.
        size: Pixels of a depth map's side.
        pairs: As for `sample_scene`.
        workers: Processes that render.

    Returns:
        (N, size, size) float16 in 1/metres: large is near, as depth estimators predict it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{pairs}-{seed}-{count}-{size}-depth.npy"
    if not path.exists():
        jobs = [(seed, start, min(start + CHUNK, count), size, pairs) for start in range(0, count, CHUNK)]
        with ProcessPoolExecutor(workers) as pool:
            rendered = np.concatenate(list(pool.map(_depth_chunk, jobs)))
        np.save(path.with_suffix(".draft.npy"), rendered)
        path.with_suffix(".draft.npy").rename(path)
    return np.load(path, mmap_mode="r")


def _depth_chunk(job: tuple[int, int, int, int, str]) -> np.ndarray:
    seed, start, stop, size, pairs = job
    rendered = [render(sample_scene(np.random.default_rng((seed, i)), pairs), size).depth for i in range(start, stop)]
    return (1 / np.stack(rendered)).astype(np.float16)


def _stars(scene: Scene, image: np.ndarray) -> np.ndarray:
    """Where stars are, 0–1."""
    if scene.sky != "night":
        return np.zeros(image.shape[:2])
    sky = (np.arange(len(image)) < 0.36 * len(image))[:, None]
    return np.clip((image.max(-1) - 80.0) / 80, 0, 1) * sky
