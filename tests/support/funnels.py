"""Commit records of a small run, as the report reads them."""

from __future__ import annotations

from typing import Any


def count(stage: str, read: int, dropped: dict[str, int], **sums: int) -> dict[str, Any]:
    return {"stage": stage, "read": read, "kept": read - sum(dropped.values()), "dropped": dropped, **sums}


def record(unit: str, *counts: dict[str, Any], seconds: float = 1.5, kind: str = "documents") -> dict[str, Any]:
    outputs = [{"path": f"data/{unit}-0123456789ab.parquet", "kind": kind}]
    return {"format": 1, "unit": unit, "seconds": seconds, "outputs": outputs, "counts": list(counts)}


def small() -> list[tuple[str, dict[str, Any]]]:
    first = count("warc", 200, {"warc.status": 20, "warc.content_type": 7}), count("c4", 173, {"c4.curly_bracket": 1})
    second = (
        count("warc", 1000, {"warc.status": 3}),
        count("c4", 997, {"c4.few_sentences": 400, "c4.curly_bracket": 9}),
    )
    return [
        ("documents", record("A-0", *first)),
        ("documents", record("A-1", *second)),
        ("labels", record("all", count("labels", 760, {}), kind="labels")),
        ("unique", record("U-0", count("dedup", 760, {"dedup.minhash": 60}))),
        ("tokens", record("T-0", count("tokens", 700, {}, tokens=300_000, chars=1_200_000), kind="tokens")),
        ("tokens", record("T-1", count("tokens", 0, {}, tokens=45, chars=5), kind="tokens")),
    ]
