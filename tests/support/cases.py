"""Small inputs of people who brought their own files: folders beside the test data, which no repository holds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.paths import TESTDATA


def case(name: str) -> Path:
    """The folder `name` of these inputs. Skips the test if it is not there, fails it with REQUIRE_TESTDATA=1."""
    folder = TESTDATA.parent / "cases" / name
    if not folder.is_dir():
        reason = f"no input at {folder} (it lies beside the folder CORPUS_TESTDATA)"
        if os.environ.get("REQUIRE_TESTDATA") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return folder.resolve()
