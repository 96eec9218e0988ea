"""Sizes that images are trained in: of about one area, each near the shape of its image."""

from __future__ import annotations

from collections.abc import Sequence

#: Longest side of a bucket, in sides of the square.
MAX_SIDE = 2.0


def bucket_sizes(resolution: int, multiple: int) -> list[tuple[int, int]]:
    """List the sizes of a resolution.

    Args:
        resolution: Side in pixels of the square whose area no size exceeds.
        multiple: Number of pixels of which sides are multiples.

    Returns:
        Pairs of height and width, by height: for each height the largest width that fits.
    """
    longest = int(resolution * MAX_SIDE)
    sizes = [
        (height, resolution**2 // height // multiple * multiple) for height in range(multiple, longest + 1, multiple)
    ]
    return [(height, width) for height, width in sizes if 0 < width <= longest]


def nearest_bucket(size: tuple[int, int], sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Choose the size whose shape is nearest to that of an image.

    Args:
        size: Width and height of the image.
        sizes: Pairs of height and width.

    Returns:
        Height and width; of sizes with one shape the largest.
    """
    width, height = size
    shape = width / height

    def distance(candidate: tuple[int, int]) -> tuple[float, int]:
        rows, columns = candidate
        ratio = columns / rows
        return max(ratio / shape, shape / ratio), -rows * columns

    return min(sizes, key=distance)


def cover(size: tuple[int, int], height: int, width: int) -> tuple[tuple[int, int], tuple[int, int, int, int]]:
    """Fit an image into a size: resized until it covers it, and cut evenly at both ends of the longer side.

    Args:
        size: Width and height of the image.
        height: Height of the result, in pixels.
        width: Width of the result, in pixels.

    Returns:
        Width and height to resize the image to, and the box `(left, top, right, bottom)` to cut from it.
    """
    scale = max(width / size[0], height / size[1])
    wide, high = max(width, round(size[0] * scale)), max(height, round(size[1] * scale))
    left, top = (wide - width) // 2, (high - height) // 2
    return (wide, high), (left, top, left + width, top + height)
