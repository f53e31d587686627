"""Run directories with made-up metrics, for the tests of `model plot`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CONFIG = {
    "model": {"vocab_size": 100, "context": 16, "layers": 2, "width": 64, "heads": 4, "kv_heads": 2, "head_dim": 16,
              "mlp_width": 96},
    "train": {"steps": 100, "batch_tokens": 1000, "lr": 3e-3},
    "data": {"fingerprint": "f00"},
}  # fmt: skip


def make_run(folder: Path, rows: list[Any] | bytes, config: dict[str, Any] | None = CONFIG) -> Path:
    """Write a run directory with these rows, or bytes, as metrics.jsonl; returns `folder`."""
    folder.mkdir(parents=True)
    content = rows if isinstance(rows, bytes) else b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    (folder / "metrics.jsonl").write_bytes(content)
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config), "utf-8")
    return folder


def steps(count: int, **more: Any) -> list[dict[str, Any]]:
    """Rows of so many steps, in which the loss falls from 5 to 2; `more` are further fields of every row."""
    return [
        {"step": n, "loss": 5 - 3 * n / count, "lr": 1e-3, "grad_norm": 1.0, "tokens_per_second": 900 + n, **more}
        for n in range(1, count + 1)
    ]
