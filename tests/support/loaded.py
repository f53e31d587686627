"""What Hugging Face's `datasets` loads from a folder, in a process of its own.

The processes of tests have no pandas (see tests/support/processes), and `datasets` needs it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.paths import REPOSITORY

_SCRIPT = """
import sys, json, datasets
loaded = datasets.load_dataset(*sys.argv[2:], cache_dir=sys.argv[1])
print(json.dumps({split: rows.to_list() for split, rows in loaded.items()}, default=str))
"""


def with_pandas(cache: Path) -> dict[str, str]:
    """The environment of a process that has pandas, and no network; what `datasets` caches goes into `cache`."""
    return {**os.environ, "PYTHONPATH": str(REPOSITORY), "HF_HUB_OFFLINE": "1", "HF_HOME": str(cache)}


def loaded(folder: Path, cache: Path, *config: str) -> dict[str, list[dict[str, Any]]]:
    """The rows of `datasets.load_dataset(folder, *config)`, by the names of the splits."""
    words = [sys.executable, "-c", _SCRIPT, str(cache / "datasets"), str(folder), *config]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=with_pandas(cache))
    assert done.returncode == 0, done.stderr
    splits: dict[str, list[dict[str, Any]]] = json.loads(done.stdout)
    return splits
