"""Where this repository is, and where the test data is."""

from __future__ import annotations

import os
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent.parent
TESTDATA = Path(os.environ.get("CORPUS_TESTDATA", REPOSITORY / "../shared/data"))
