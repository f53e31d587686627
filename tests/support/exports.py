"""Documents to export, and what an export should be."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any


def rows(first: int, count: int) -> list[dict[str, Any]]:
    languages = ["en", "no", None]
    return [
        {
            "text": f'Document {number}.\nA line of its own, ünïcode \u2028 and "quotes".',
            "id": f"<{number}>",
            "url": f"https://a.example/{number}",
            "date": "2026-10-01T12:00:00Z",
            "language": languages[number % 3],
            "language_score": 0.5,
            "warc_offset": number,
        }
        for number in range(first, first + count)
    ]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def checked(folder: Path) -> None:
    done = subprocess.run(
        ["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    listed = {line.split("  ")[1] for line in (folder / "SHA256SUMS").read_text().splitlines()}
    assert listed == set(contents(folder)) - {"SHA256SUMS"}
