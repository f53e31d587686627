"""Small inputs of people who brought their own files: folders beside the test data, which no repository holds."""

from __future__ import annotations

from pathlib import Path

from tests.support.paths import TESTDATA, needed


def case(name: str) -> Path:
    """The folder `name` of these inputs. Skips the test if it is not there, fails it with REQUIRE_TESTDATA=1."""
    folder = TESTDATA.parent / "cases" / name
    return needed(folder, f"no input at {folder} (it lies beside the folder CORPUS_TESTDATA)")
