"""Charts: plots as SVG without text, axes as text beside them.

Drawn here and not in the browser, so that they also show without scripts. A plot is
stretched to the width of its place; text in it would be stretched too, so labels stand
around it. Colours and widths are the style sheet's.
"""

from __future__ import annotations

from collections.abc import Sequence

from meshnode.settlement import Quality
from meshnode.views import LineRow
from meshnode.web.history import HOUR_S, Point
from meshnode.web.html import Html, fill, join
from meshnode.web.texts import Words
from meshnode.web.zone import Zone

WIDTH, HEIGHT = 1000, 200
# Between a handful of lines the eye still counts.
MAX_INTERVALS = 4
# With less the bars would be planks.
LEAST_BARS = 24
# A line is broken where nothing was heard for this part of the window.
GAP_PART = 12

_PLOT = """<div class="chart {kind}"><div class="ticks" aria-hidden="true">{ticks}</div>
<svg viewBox="0 0 {width} {height}" preserveAspectRatio="none" role="img" aria-label="{label}">{grid}{marks}</svg>
<div class="times" aria-hidden="true">{times}</div></div>"""
_SOURCES = ("own", "neighbours", "grid")


def steps(low: int, high: int) -> range:
    """The values of grid lines from at most `low` to at least `high`, in steps of 1, 2 or 5 times a power of ten."""
    step = 1
    while True:
        for factor in (1, 2, 5):
            bottom, top = low // (factor * step) * factor * step, -(-high // (factor * step)) * factor * step
            if top - bottom <= MAX_INTERVALS * factor * step:
                return range(bottom, max(top, bottom + factor * step) + 1, factor * step)
        step *= 10


def power(points: Sequence[Point], now_s: int, window_s: int, words: Words, zone: Zone) -> Html:
    """Lines of this home's and the community's power; above zero they draw."""
    own = [(point.time_s, point.own_w) for point in points if point.own_w is not None]
    all_homes = [(point.time_s, point.community_w) for point in points]
    values = [value for _, value in (*own, *all_homes)]
    lines = steps(min(0, *values), max(100, *values)) if values else steps(0, 100)
    start = now_s - window_s

    def place(time_s: int, value: int) -> str:
        x = (time_s - start) * WIDTH // window_s
        return f"{x} {_height(value, lines)}"

    def path(name: str, line: list[tuple[int, int]]) -> Html:
        drawn: list[str] = []
        before = None
        for time_s, value in line:
            broken = before is None or time_s - before > window_s // GAP_PART
            # A line of no length, so that a single value is a dot.
            drawn.append(f"M{place(time_s, value)}h0" if broken else f"L{place(time_s, value)}")
            before = time_s
        return fill('<path class="line {name}" d="{path}"/>', name=name, path="".join(drawn))

    return _plot(
        "power",
        power_title(window_s, words),
        lines,
        [words.power(value) for value in lines],
        [zone.clock(start), zone.clock(now_s - window_s // 2), zone.clock(now_s)],
        join((path("community", all_homes), path("home", own))),
    )


def power_title(window_s: int, words: Words) -> str:
    """What the lines of power span."""
    hours = window_s // HOUR_S
    return words.counted(hours, "chart_power", hours=hours)


def energy(lines: Sequence[LineRow], length_s: int, words: Words, zone: Zone) -> Html:
    """A bar a period: own roof, neighbours, grid, one on the other; the newest at the right."""
    ticks = steps(0, max(100, *(line.consumption_wh for line in lines)))
    end = lines[-1].start_s + length_s
    bars = max(LEAST_BARS, (end - lines[0].start_s) // length_s)
    start = end - bars * length_s
    middle = start + bars // 2 * length_s
    return _plot(
        "energy",
        words("energy"),
        ticks,
        [*(words.kwh(value) for value in ticks[:-1]), words.energy(ticks[-1])],
        [zone.clock(start), zone.clock(middle), zone.clock(end)],
        join(_bar(line, (line.start_s - start) // length_s, bars, ticks, length_s, words, zone) for line in lines),
    )


def _bar(line: LineRow, number: int, bars: int, ticks: range, length_s: int, words: Words, zone: Zone) -> Html:
    left, right = number * WIDTH // bars, (number + 1) * WIDTH // bars
    gap = max(1, (right - left) // 8)
    parts, below = [], 0
    for source in _SOURCES:
        energy_wh = getattr(line, f"{source}_wh")
        if energy_wh:
            top, bottom = _height(below + energy_wh, ticks), _height(below, ticks)
            parts.append(
                fill(
                    '<rect class="{source}" x="{x}" y="{y}" width="{width}" height="{height}"/>',
                    source=source,
                    x=left,
                    y=top,
                    width=right - left - gap,
                    height=bottom - top,
                )
            )
            below += energy_wh
    told = ", ".join(f"{words(source)} {words.energy(getattr(line, f'{source}_wh'))}" for source in _SOURCES)
    span = f"{zone.clock(line.start_s)}\u2013{zone.clock(line.start_s + length_s)}"
    quality = ' class="estimated"' if line.quality == Quality.ESTIMATED else ""
    return fill(
        "<g{quality}><title>{span}: {told}</title>{parts}</g>",
        quality=Html(quality),
        span=span,
        told=told,
        parts=join(parts),
    )


def share_bar(parts: Sequence[tuple[str, int]], label: str, name: str) -> Html:
    """One horizontal bar, divided in proportion; a part of nothing stands in it too, for the script to widen."""
    whole, marks, left = sum(size for _, size in parts), [], 0
    for part, size in parts:
        width = size * WIDTH // whole if whole else 0
        marks.append(
            fill('<rect class="{part}" x="{x}" y="0" width="{width}" height="10"/>', part=part, x=left, width=width)
        )
        left += width
    return fill(
        '<svg id="{name}" class="share" viewBox="0 0 {width} 10" preserveAspectRatio="none" role="img" '
        'aria-label="{label}"><rect class="rest" x="0" y="0" width="{width}" height="10"/>{marks}</svg>',
        name=name,
        width=WIDTH,
        label=label,
        marks=join(marks),
    )


def _plot(kind: str, label: str, lines: range, ticks: list[str], times: list[str], marks: Html) -> Html:
    grid = join(
        fill(
            '<path class="{name}" d="M0 {y}H{width}"/>',
            name="zero" if value == 0 else "rule",
            y=_height(value, lines),
            width=WIDTH,
        )
        for value in lines
    )
    return fill(
        _PLOT,
        kind=kind,
        label=label,
        width=WIDTH,
        height=HEIGHT,
        ticks=join(fill("<span>{text}</span>", text=text) for text in reversed(ticks)),
        times=join(fill("<span>{text}</span>", text=text) for text in times),
        grid=grid,
        marks=marks,
    )


def _height(value: int, lines: range) -> int:
    """Where a value stands in the plot, from its top."""
    return HEIGHT - (value - lines[0]) * HEIGHT // (lines[-1] - lines[0])
