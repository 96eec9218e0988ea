"""Small line charts, drawn with Pillow: enough to see a curve, and no plotting library to install."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw

WIDTH, HEIGHT, LEFT, TOP, GAP = 640, 150, 60, 30, 24
COLOURS = ("#1f6fb4", "#d1495b", "#2a9d5c", "#8e5bb5", "#b8860b")


def plot(series: Mapping[str, Sequence[float | None]], across: str) -> bytes:
    """One panel below another, each with its own scale; a series without numbers is left out.

    Returns:
        a PNG.
    """
    shown = {name: values for name, values in series.items() if any(value is not None for value in values)}
    sheet = Image.new("RGB", (WIDTH, len(shown) * (HEIGHT + GAP + TOP) + GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for row, (name, values) in enumerate(shown.items()):
        panel(
            draw,
            row * (HEIGHT + GAP + TOP) + TOP,
            name,
            [0.0 if value is None else float(value) for value in values],
            COLOURS[row % 5],
        )
    draw.text((WIDTH - 80, sheet.height - GAP), across, fill="gray", font_size=12)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def panel(draw: ImageDraw.ImageDraw, top: int, name: str, values: Sequence[float], colour: str) -> None:
    """A frame, the range on the left, the curve."""
    low, high = min(values), max(values)
    span = high - low or 1.0
    right = WIDTH - 20
    draw.text((LEFT, top - 18), name, fill="black", font_size=13)
    draw.rectangle((LEFT, top, right, top + HEIGHT), outline="#cccccc")
    for value, at in ((high, top), (low, top + HEIGHT)):
        draw.text((4, at - 7), f"{value:.3g}", fill="gray", font_size=12)
    step = (right - LEFT) / max(len(values) - 1, 1)
    points = [(LEFT + i * step, top + HEIGHT - (value - low) / span * HEIGHT) for i, value in enumerate(values)]
    if len(points) > 1:
        draw.line(points, fill=colour, width=2, joint="curve")
    for x, y in points:
        draw.ellipse((x - 2, y - 2, x + 2, y + 2), fill=colour)
