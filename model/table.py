"""A table as lines of text, within the width of a terminal."""

from __future__ import annotations

from collections.abc import Sequence

WIDTH = 100  # characters
GAP = "  "  # between columns


def table(rows: Sequence[Sequence[str]], width: int = WIDTH) -> list[str]:
    """A line for each row, the first column aligned on the left and the other columns on the right.

    If a line would be longer than `width` characters, the entries of the first column, which are names, lose their
    beginning: names differ most at their end.
    """
    first, *others = ([len(cell) for cell in column] for column in zip(*rows, strict=True))
    widths = [max(column) for column in others]
    room = min(max(first), max(8, width - sum(widths) - len(GAP) * len(widths)))
    lines = []
    for name, *cells in rows:
        shown = name if len(name) <= room else "…" + name[len(name) - room + 1 :]
        lines.append(GAP.join([shown.ljust(room), *(cell.rjust(n) for cell, n in zip(cells, widths, strict=True))]))
    return [line.rstrip() for line in lines]
