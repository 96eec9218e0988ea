"""Chart of a sweep's page: seconds against steps, as SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from composer.sweeps.report.html_text import escape, format_duration

if TYPE_CHECKING:
    from composer.sweeps.report.cells import Cell

#: Number of colours in page.css; further curves are dashed.
COLOURS = 8
#: With more jobs than this the single measurements are not shown beside the medians.
MAX_DOTS = 500
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 260, 48, 16, 10, 40

#: Seconds of the jobs by number of steps.
Curve = Mapping[int, Sequence[float]]


@dataclass(frozen=True)
class Scale:
    """Conversion of data to pixels.

    Attributes:
        steps: Numbers of steps, ascending; at least two.
        marks: Marks of the axis of seconds, ascending from 0.
    """

    steps: Sequence[int]
    marks: Sequence[float]

    def x(self, step: float) -> float:
        """Convert a number of steps.

        Args:
            step: Number of steps.

        Returns:
            Pixels from the left.
        """
        return round(LEFT + (step - self.steps[0]) / (self.steps[-1] - self.steps[0]) * (WIDTH - LEFT - RIGHT), 1)

    def y(self, seconds: float) -> float:
        """Convert seconds.

        Args:
            seconds: Seconds.

        Returns:
            Pixels from the top.
        """
        return round(HEIGHT - BOTTOM - seconds / self.marks[-1] * (HEIGHT - TOP - BOTTOM), 1)


def render_chart(cells: Sequence[Cell]) -> str:
    """Render seconds against steps, with a curve through the medians for each scheduler.

    Args:
        cells: Jobs of the sheet.

    Returns:
        HTML; empty if all jobs have the same number of steps.
    """
    curves = _curves(cells)
    steps = sorted({step for curve in curves.values() for step in curve})
    if len(steps) < 2:
        return ""
    all_seconds = [seconds for curve in curves.values() for times in curve.values() for seconds in times]
    scale = Scale(steps, axis_marks(max(all_seconds)))
    shapes, legend = _axes(scale), []
    for i, (name, curve) in enumerate(curves.items()):
        colour = f'style="color: var(--c{i % COLOURS})"'
        dash = f' stroke-dasharray="{2 + 4 * (i // COLOURS)} 4"' if i >= COLOURS else ""
        shapes.append(_curve(name, curve, scale, colour, dash, with_jobs=len(all_seconds) <= MAX_DOTS))
        sample = f'<svg {colour} width="22" height="10"><path class="curve" d="M0 5H22"{dash}/></svg>'
        legend.append(f'<li>{sample}<span class="text">{escape(name) or "no name"}</span></li>')
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    return (
        f'<h2 id="plot">Seconds against steps</h2>\n<div class="plot"><ul class="legend">{"".join(legend)}</ul>\n'
        f'<svg {size} role="img" aria-label="seconds against steps">{"".join(shapes)}</svg></div>\n'
    )


def _curves(cells: Sequence[Cell]) -> dict[str, dict[int, list[float]]]:
    """Seconds of finished jobs by scheduler and number of steps."""
    curves: dict[str, dict[int, list[float]]] = {}
    for cell in cells:
        if cell.state == "done" and cell.steps is not None and cell.seconds is not None and math.isfinite(cell.seconds):
            curves.setdefault(cell.scheduler or "", {}).setdefault(cell.steps, []).append(cell.seconds)
    return curves


def _axes(scale: Scale) -> list[str]:
    shapes = []
    for mark in scale.marks:
        shapes.append(f'<path class="frame" d="M{LEFT} {scale.y(mark)}H{WIDTH - RIGHT}"/>')
        shapes.append(f'<text x="{LEFT - 8}" y="{scale.y(mark) + 4}" text-anchor="end">{mark:g}</text>')
    for step in scale.steps[:: math.ceil(len(scale.steps) / 10)]:
        shapes.append(f'<text x="{scale.x(step)}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{step}</text>')
    return [*shapes, f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 4}" text-anchor="end">steps</text>']


def _curve(name: str, curve: Curve, scale: Scale, colour: str, dash: str, with_jobs: bool) -> str:
    corners, dots = [], []
    for step, times in sorted(curve.items()):
        x, middle = scale.x(step), median(times)
        corners.append(f"{x} {scale.y(middle)}")
        if len(times) > 1 and with_jobs:
            dots += [f'<circle class="job" cx="{x}" cy="{scale.y(seconds)}" r="2"/>' for seconds in times]
        title = f"{name}, {step} steps: {format_duration(middle)}"
        title += f", median of {len(times)} jobs" if len(times) > 1 else ""
        dots.append(f'<circle cx="{x}" cy="{scale.y(middle)}" r="3.5"><title>{escape(title)}</title></circle>')
    return f'<g {colour}><path class="curve" d="M{"L".join(corners)}"{dash}/>{"".join(dots)}</g>'


def axis_marks(maximum: float) -> list[float]:
    """Choose round numbers for the marks of an axis.

    Args:
        maximum: Largest value, >= 0.

    Returns:
        Numbers from 0 to ``maximum`` or a little more, about five.
    """
    rough = (maximum or 1.0) / 4
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    return [round(i * step, 10) for i in range(math.ceil(maximum / step - 1e-9) + 1 if maximum else 2)]
