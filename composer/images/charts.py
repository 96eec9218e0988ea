"""Small line charts, made with Pillow, without a plotting library."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw

WIDTH, HEIGHT, LEFT, TOP, GAP = 640, 150, 60, 30, 24
COLOURS = ("#1f6fb4", "#d1495b", "#2a9d5c", "#8e5bb5", "#b8860b")


def encode_chart(series: Mapping[str, Sequence[float | None]], across: str) -> bytes:
    """Plot line charts below each other, each with its own scale.

    Args:
        series: Values by the title of their chart. A series without numbers is omitted; `None` counts as 0.
        across: Label of the horizontal axis.

    Returns:
        The contents of a PNG file, 640 pixels wide.
    """
    shown = {name: values for name, values in series.items() if any(value is not None for value in values)}
    sheet = Image.new("RGB", (WIDTH, len(shown) * (HEIGHT + GAP + TOP) + GAP), "white")
    canvas = ImageDraw.Draw(sheet)
    for row, (name, values) in enumerate(shown.items()):
        plot_panel(
            canvas,
            row * (HEIGHT + GAP + TOP) + TOP,
            name,
            [0.0 if value is None else float(value) for value in values],
            COLOURS[row % 5],
        )
    canvas.text((WIDTH - 80, sheet.height - GAP), across, fill="gray", font_size=12)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def plot_panel(canvas: ImageDraw.ImageDraw, top: int, name: str, values: Sequence[float], colour: str) -> None:
    """Plot one chart: a frame, the range on its left, and the curve.

    Args:
        canvas: Pillow's canvas.
        top: Upper edge of the frame, in pixels.
        name: Title.
        values: Values from left to right, one at least.
        colour: Colour of the curve.
    """
    low, high = min(values), max(values)
    span = high - low or 1.0
    right = WIDTH - 20
    canvas.text((LEFT, top - 18), name, fill="black", font_size=13)
    canvas.rectangle((LEFT, top, right, top + HEIGHT), outline="#cccccc")
    for value, at in ((high, top), (low, top + HEIGHT)):
        canvas.text((4, at - 7), f"{value:.3g}", fill="gray", font_size=12)
    step = (right - LEFT) / max(len(values) - 1, 1)
    points = [(LEFT + i * step, top + HEIGHT - (value - low) / span * HEIGHT) for i, value in enumerate(values)]
    if len(points) > 1:
        canvas.line(points, fill=colour, width=2, joint="curve")
    for x, y in points:
        canvas.ellipse((x - 2, y - 2, x + 2, y + 2), fill=colour)
