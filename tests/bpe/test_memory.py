"""The encoder touches no memory but its own: it works on raw addresses, where a slip is silent until it is not.

Each script is a process of its own, so that one which the system ends is a failed test and not the end of them all.
"""

from __future__ import annotations

import os
import subprocess
import sys

from tests.conftest import REPOSITORY

# Whatever is freed goes back to the system at once, so that to touch it again ends the process (glibc, mallopt(3)).
GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": "1", "MALLOC_TOP_PAD_": "0", "MALLOC_TRIM_THRESHOLD_": "0"}

SEAMS = """
from bpe.encode import Encoder
from bpe.vocabulary import Vocabulary

runs = tuple(b"a" * 2**i for i in range(1, 12))
encoder = Encoder(Vocabulary((*(bytes([byte]) for byte in range(256)), *runs), "gpt2", {}), 64)
for text in ("a" * 5000 + "b", "ab" * 3000, "a" * 100_000 + "b", "a" * 65):
    assert encoder.decode(encoder.encode(text)) == text
"""


def run(*arguments: str, **variables: str) -> None:
    command, environment = [sys.executable, *arguments], os.environ | variables
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.returncode, done.stderr[-2000:])


def test_unmapped_pages_around_texts_and_arrays_are_not_touched() -> None:
    """At every size up to 200 bytes, for each scheme, 2 and 4 byte ids, merges listed or not."""
    run("-m", "tests.bpe.guarded_encoder")


def test_freed_memory_is_not_touched() -> None:
    """Numba frees an array after the last line that names it, even where its address is still in use."""
    run("-c", SEAMS, **GIVE_BACK)
