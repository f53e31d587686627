"""Figures as lines of text: columns under their names, within the width of a terminal."""

from __future__ import annotations

from collections.abc import Sequence

WIDTH = 100  # characters
GAP = "  "


def table(rows: Sequence[Sequence[str]], width: int = WIDTH) -> list[str]:
    """A line a row, the first column on the left and the others on the right of their space.

    Where lines would be longer than `width`, the first column's entries lose their beginning: names are told apart
    by their end.
    """
    first, *others = ([len(cell) for cell in column] for column in zip(*rows, strict=True))
    widths = [max(column) for column in others]
    room = min(max(first), max(8, width - sum(widths) - len(GAP) * len(widths)))
    lines = []
    for name, *cells in rows:
        shown = name if len(name) <= room else "…" + name[len(name) - room + 1 :]
        lines.append(GAP.join([shown.ljust(room), *(cell.rjust(n) for cell, n in zip(cells, widths, strict=True))]))
    return [line.rstrip() for line in lines]
