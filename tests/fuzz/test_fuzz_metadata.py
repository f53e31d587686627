"""The fuzzer of metadata on a few hundred folders, and that it notices a promise that is broken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from corpus.store.records import CommitRecord
from tests.fuzz import fuzz_metadata


@pytest.mark.parametrize("kind", fuzz_metadata.KINDS)
def test_sound_files_are_read(kind: str, tmp_path: Path) -> None:
    made, read, files = fuzz_metadata.KINDS[kind]
    made(tmp_path)
    read(tmp_path)
    for pattern in files:
        assert list(tmp_path.glob(pattern))


# Seeds that found something once, and as many folders as five seconds take on one core.
@pytest.mark.parametrize(
    ("kind", "seed", "cases"),
    [
        ("records", 1, 800),
        ("manifest", 1, 300),
        ("recipes", 1, 800),
        ("tokenizers", 1, 500),
        ("checkpoints", 1, 200),
        ("models", 1, 500),
    ],
)
def test_mutated_files_are_accepted_or_refused_in_one_line(kind: str, seed: int, cases: int, tmp_path: Path) -> None:
    count, findings = fuzz_metadata.run(kind, 60, seed, tmp_path, cases)
    assert count == cases
    assert findings == {}


def test_a_reader_that_lets_a_key_error_through_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(data: bytes, name: str) -> CommitRecord:
        fields = json.loads(data)
        del fields["checksum"]
        return CommitRecord(**{**fields, "inputs": (), "outputs": (), "counts": fields["counts"]})

    monkeypatch.setattr(CommitRecord, "from_json", staticmethod(careless))
    _, findings = fuzz_metadata.run("records", 60, 1, tmp_path, cases=100)
    assert any("KeyError" in finding.what for finding in findings)
    assert all(kept.is_dir() for kept in findings.values())
