"""Horizontal bars as SVG: all that the page of the figures plots."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

COLOURS = ("#7048e8", "#38bdf8", "#adb5bd", "#f59f00")
_WIDTH, _LABELS, _VALUES, _BAR, _GAP, _TOP = 860, 250, 70, 15, 12, 62


def bars(
    title: str,
    unit: str,
    series: Sequence[str],
    rows: Sequence[tuple[str, Sequence[float]]],
    *,
    mark: float | None = None,
) -> str:
    """Return a plot of one group of bars per row.

    Args:
        title: above the plot.
        unit: of the values, behind the title.
        series: what the bars of a group are, in the order of their values.
        rows: a label and a value per series.
        mark: where a line stands, such as 1 for ratios.
    """
    most = max([value for _, values in rows for value in values] + [mark or 0.0])
    scale = (_WIDTH - _LABELS - _VALUES) / most
    group = len(series) * _BAR + _GAP
    height = _TOP + len(rows) * group + _GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        f'role="img" aria-label="{escape(title)}" font-family="system-ui, sans-serif" font-size="12" fill="#212529">',
        f'<rect width="{_WIDTH}" height="{height}" rx="6" fill="#ffffff"/>',
        f'<text x="16" y="24" font-size="15" font-weight="600">{escape(title)} '
        f'<tspan font-weight="400" fill="#495057">({escape(unit)})</tspan></text>',
    ]
    x = 16.0
    for name, colour in zip(series, COLOURS, strict=False):
        parts.append(f'<rect x="{x:.0f}" y="36" width="11" height="11" fill="{colour}"/>')
        parts.append(f'<text x="{x + 16:.0f}" y="46">{escape(name)}</text>')
        x += 32 + 6.6 * len(name)
    for number, (label, values) in enumerate(rows):
        top = _TOP + number * group
        middle = top + len(values) * _BAR / 2 + 4
        parts.append(f'<text x="{_LABELS - 8}" y="{middle:.0f}" text-anchor="end">{escape(label)}</text>')
        for place, (value, colour) in enumerate(zip(values, COLOURS, strict=False)):
            y, width = top + place * _BAR, value * scale
            parts.append(f'<rect x="{_LABELS}" y="{y}" width="{width:.1f}" height="{_BAR - 3}" fill="{colour}"/>')
            parts.append(f'<text x="{_LABELS + width + 5:.1f}" y="{y + 10}" fill="#495057">{value:.3g}</text>')
    if mark is not None:
        x = _LABELS + mark * scale
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 6}" y2="{height - _GAP}" stroke="#e03131" '
            'stroke-dasharray="4 3"/>'
        )
    return "\n".join([*parts, "</svg>", ""])
