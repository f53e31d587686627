"""The fuzzer's promises on a few hundred files, and that it would notice if they were broken."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.warc import framing
from tests.fuzz import fuzz_warc

SEEDS = fuzz_warc.seeds()


@pytest.mark.parametrize("form", fuzz_warc.FORMS)
def test_sound_files_keep_all_promises(form: str) -> None:
    assert fuzz_warc.verdict(SEEDS[list(fuzz_warc.FORMS).index(form)]) is None


@settings(max_examples=400)
@given(st.integers(0, 2**32), st.integers(0, len(SEEDS) - 1))
def test_mutated_files_keep_all_promises(seed: int, form: int) -> None:
    assert fuzz_warc.verdict(fuzz_warc.mutated(SEEDS[form], random.Random(seed), SEEDS)) is None


def test_a_reader_that_ignores_digests_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "_doubted", lambda record: record)
    with pytest.raises(SystemExit, match="a body that nobody wrote"):
        fuzz_warc.run(60, 1, tmp_path / "found.bin")
    assert fuzz_warc.verdict((tmp_path / "found.bin").read_bytes()) is not None
