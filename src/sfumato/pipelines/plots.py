"""Plots as inline SVG, without a script; colours come from the page, light or dark."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

LEFT, RIGHT, TOP, BOTTOM = 58, 12, 10, 42
"""Room around a plot for its labels."""


@dataclass(frozen=True)
class Axis:
    """A range of values laid along pixels.

    Attributes:
        low: the least value; above 0 on a logarithmic axis.
        high: the greatest, above `low`.
        start: the pixel of `low`.
        end: the pixel of `high`.
        log: whether equal distances are equal factors.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, values: npt.ArrayLike) -> Array:
        """The pixels of values."""
        low, high, found = (self._scaled(v) for v in (self.low, self.high, values))
        return np.asarray(self.start + (found - low) / (high - low) * (self.end - self.start))

    def ticks(self, count: int = 5) -> list[float]:
        """About so many round values within the range."""
        if self.log:
            found = [v for v in _round_numbers(self.low, self.high) if self.low <= v <= self.high]
            if len(found) > 2:
                return found[:: math.ceil(len(found) / (count + 2))]
        step = _step((self.high - self.low) / count)
        first = math.ceil(self.low / step - 1e-9)
        return [i * step for i in range(first, math.floor(self.high / step + 1e-9) + 1)]

    def _scaled(self, values: npt.ArrayLike) -> Array:
        values = np.asarray(values, np.float64)
        return np.log(values) if self.log else values


def around(values: Array, start: float, end: float, log: bool = False) -> Axis:
    """An axis that holds all finite values; without spread, a little more."""
    found = values[np.isfinite(values) & ((values > 0) | (not log))]
    low, high = (float(found.min()), float(found.max())) if found.size else (1.0, 2.0)
    if low == high:
        low, high = (low / 2, high * 2) if log else (low - 0.5, high + 0.5)
    return Axis(low, high, start, end, log)


@dataclass(frozen=True)
class Curve:
    """A curve: points `(n,)` each, and how it is drawn ("raw": pale; "smooth": bold)."""

    x: Array
    y: Array
    style: str = "smooth"


def curves(
    found: Sequence[Curve],
    x_label: str,
    y_label: str,
    *,
    log: bool = False,
    zero: bool = False,
    size: tuple[int, int] = (760, 300),
) -> str:
    """Curves over one pair of axes.

    Args:
        found: at least one; points not finite, or not above 0 on a log axis, are left out.
        x_label: what the horizontal axis is, with its unit.
        y_label: likewise the vertical one.
        log: whether the vertical axis is logarithmic.
        zero: whether the vertical axis starts at 0.
        size: width and height in pixels.
    """
    width, height = size
    x = around(np.concatenate([c.x for c in found]), LEFT, width - RIGHT)
    heights = np.concatenate([c.y for c in found] + [np.zeros(int(zero))])
    y = around(heights, height - BOTTOM - (0 if zero else 8), TOP, log)
    paths = (f'<path class="{c.style}" d="{_path(x, y, c)}"/>' for c in found)
    body = _across(x, x_label, size) + _up(y, y_label, size) + "".join(paths)
    return _svg(size, body, f"{y_label} over {x_label}")


def heat(
    steps: Array, values: Array, last: Array, label: str, size: tuple[int, int] = (760, 300)
) -> str:
    """Levels over time as shades, and beside it bars of where each ended.

    Args:
        steps: the edges of the columns, `(columns + 1,)`, increasing.
        values: `(levels, columns)`, NaN where nothing is known; large is strong.
        last: `(levels,)`, of the bars.
        label: what the values are.
        size: width and height in pixels.
    """
    width, height = size
    split = round(0.66 * width)
    x, y = Axis(steps[0], steps[-1], LEFT, split), Axis(0, 1, height - BOTTOM, TOP)
    body = (
        _across(x, "step", (split, height))
        + _up(y, "noise level", (LEFT + RIGHT, height))
        + "".join(_shades(x, y, steps, values))
        + _bars(Axis(0, float(np.nanmax(last, initial=1e-9)), split + 20, width - 56), y, last)
        + _label((split + width) / 2, height - 6, label)
    )
    return _svg(size, body, f"{label} by noise level, over time and at the end")


def scatter(groups: Sequence[Array], reach: float, size: int, alt: str) -> str:
    """Points in the plane, each group `(n, 2)` in a colour of its own, within +-`reach`."""
    scale = Axis(-reach, reach, 0, size)
    paths = []
    for i, points in enumerate(groups):
        inside = points[(np.abs(points) <= reach).all(1)]
        pixels = scale(inside * [1, -1])
        d = "".join(f"M{x:.0f} {y:.0f}h0" for x, y in pixels * 10)
        paths.append(f'<path class="dots c{i % 8}" transform="scale(.1)" d="{d}"/>')
    return _svg((size, size), "".join(paths), alt, "points")


def smooth(values: Array, span: float) -> Array:
    """An exponential average over about `span` values, unbiased at the start; NaN is skipped."""
    keep = 1 - 1 / max(1.0, span)
    total, weight, found = 0.0, 0.0, []
    for value in values:
        if math.isfinite(value):
            total, weight = keep * total + value, keep * weight + 1
        found.append(total / weight if weight else math.nan)
    return np.array(found)


def thinned(values: Array, most: int) -> Array:
    """Means of equal stretches along the first axis, at most `most` of them; NaN is skipped."""
    if len(values) <= most:
        return values
    return np.stack([_mean(part) for part in np.array_split(values, most)])


def short(value: float) -> str:
    """A number for a tick: 2e-4, 0.05, 12, 3k, 1.5M."""
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= unit:
            return f"{value / unit:.4g}{name}"
    if 0 < abs(value) < 0.01:
        return f"{value:.1e}".replace(".0e", "e").replace("e-0", "e-")
    return f"{value:.2g}" if abs(value) < 1 else f"{value:.4g}"


def _mean(part: Array) -> Array:
    known = np.isfinite(part)
    counts = known.sum(0)
    total = np.where(known, part, 0).sum(0)
    return np.asarray(np.where(counts > 0, total / np.maximum(counts, 1), np.nan))


def _path(x: Axis, y: Axis, curve: Curve) -> str:
    good = np.isfinite(curve.y) & ((curve.y > 0) | (not y.log))
    points = zip(x(curve.x[good]), y(curve.y[good]), strict=True)
    return "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in points) if good.any() else ""


def _shades(x: Axis, y: Axis, steps: Array, values: Array) -> Iterable[str]:
    """One rectangle for each known value; opacity is even in the logarithm."""
    tone = around(values[np.isfinite(values)], 0.04, 0.92, log=True)
    edges, levels = x(steps).round(), y(np.linspace(0, 1, len(values) + 1))
    for i, line in enumerate(values):
        for j, value in enumerate(line):
            if value > 0:  # which NaN is not
                yield (
                    f'<rect x="{edges[j]:.0f}" y="{levels[i + 1]:.1f}" '
                    f'width="{edges[j + 1] - edges[j]:.0f}" '
                    f'height="{levels[i] - levels[i + 1] - 1:.1f}" '
                    f'fill-opacity="{float(tone(value)):.2f}"/>'
                )


def _bars(x: Axis, y: Axis, last: Array) -> str:
    levels = y(np.linspace(0, 1, len(last) + 1))
    parts = []
    for i, value in enumerate(last):
        if math.isfinite(value):
            end, height = float(x(value)), levels[i] - levels[i + 1]
            parts.append(
                f'<rect x="{x.start}" y="{levels[i + 1] + height * 0.2:.1f}" '
                f'width="{end - x.start:.1f}" height="{height * 0.6:.1f}" fill-opacity=".75"/>'
                f'<text x="{end + 5:.1f}" y="{levels[i] - height / 2 + 4:.1f}">{value:.3g}</text>'
            )
    return "".join(parts)


def _across(x: Axis, label: str, size: tuple[int, int]) -> str:
    bottom = size[1] - BOTTOM
    ticks = "".join(
        f'<text text-anchor="middle" x="{float(x(v)):.1f}" y="{bottom + 16}">{short(v)}</text>'
        for v in x.ticks(6)
    )
    line = f'<path class="axis" d="M{x.start} {bottom}H{x.end}"/>'
    return line + ticks + _label((x.start + x.end) / 2, size[1] - 6, label)


def _up(y: Axis, label: str, size: tuple[int, int]) -> str:
    ticks = "".join(
        f'<path class="rule" d="M{LEFT} {float(y(v)):.1f}H{size[0] - RIGHT}"/>'
        f'<text text-anchor="end" x="{LEFT - 7}" y="{float(y(v)) + 4:.1f}">{short(v)}</text>'
        for v in y.ticks()
    )
    middle = (y.start + y.end) / 2
    return ticks + _label(13, middle, label, f' transform="rotate(-90 13 {middle:.0f})"')


def _label(x: float, y: float, label: str, turn: str = "") -> str:
    return (
        f'<text class="label" text-anchor="middle" x="{x:.0f}" y="{y:.0f}"{turn}>'
        f"{escape(label)}</text>"
    )


def _svg(size: tuple[int, int], body: str, alt: str, style: str = "plot") -> str:
    return (
        f'<svg class="{style}" role="img" aria-label="{escape(alt)}" '
        f'viewBox="0 0 {size[0]} {size[1]}" width="{size[0]}" height="{size[1]}">{body}</svg>'
    )


def _step(raw: float) -> float:
    """The next of 1, 2, 5, 10, ... above."""
    power = 10.0 ** math.floor(math.log10(raw))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= raw * (1 - 1e-9))


def _round_numbers(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [m * 10.0**p for p in powers for m in (1, 2, 5)]
