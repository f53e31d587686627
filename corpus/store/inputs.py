"""The files that units read: what a record says of one, and opening it again.

A file that cannot be read when a pass is planned must not stop the pass: its unit fails and names it, and the other
units run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from io import BufferedReader

from corpus.store.open import fingerprint, open_path
from corpus.store.records import UNREADABLE, Input


def input_at(path: str) -> Input:
    """A file as the input of a unit; without an etag if it cannot be read.

    Raises ConnectionError, which is about all files.
    """
    try:
        return Input(path, *fingerprint(path))
    except ConnectionError:
        raise
    except OSError:
        return Input(path, 0, UNREADABLE)


@contextlib.contextmanager
def open_input(file: Input) -> Iterator[BufferedReader]:
    """The file of a unit, open. Errors of reading name it."""
    try:
        if file.etag == UNREADABLE:
            fingerprint(file.path)  # raises the error that it raised before
            raise OSError(f"{file.path}: could not be read when this pass began; run it again")
        with open_path(file.path) as stream:
            yield stream
    except OSError as error:
        if error.errno is None:
            raise
        raise type(error)(f"{file.path}: cannot be read ({error.strerror})") from None
