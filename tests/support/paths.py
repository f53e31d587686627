"""Where this repository is, and where the test data is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent.parent
TESTDATA = Path(os.environ.get("CORPUS_TESTDATA", REPOSITORY / "../shared/data"))


def needed(folder: Path, reason: str) -> Path:
    """The folder. Where it is not there, skips the test with this reason, or fails it with REQUIRE_TESTDATA=1."""
    if not folder.is_dir():
        if os.environ.get("REQUIRE_TESTDATA") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return folder.resolve()
