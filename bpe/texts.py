"""Texts as the kernels read them: one run of UTF-8 bytes and the bounds of each text in it.

Arrow arrays, sliced or not, are read in place, and nulls count as empty texts. Python strings are encoded once. A lone
surrogate, which UTF-8 cannot hold, becomes U+FFFD, as in tiktoken.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

SEVERAL_TEXTS = "several texts, such as a list of strings"  # what to pass for the argument `texts`
_STRINGS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)


class Utf8(NamedTuple):
    """Text i is bytes `offsets[i]` to `offsets[i + 1]` (int64) of `content` (uint8, not to be written to)."""

    content: NDArray[np.uint8]
    offsets: NDArray[np.int64]

    @property
    def size(self) -> int:
        """The bytes of all texts; `content` may hold others before and after them."""
        return int(self.offsets[-1] - self.offsets[0])


def utf8(text: str) -> bytes:
    """`text` in UTF-8, lone surrogates replaced."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        # A pair of surrogates becomes the character that it stands for, any other U+FFFD.
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def strings_of(name: str, array: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """`array`, the argument `name`, as an array of string or large_string, if it holds strings; else raises TypeError.

    Arrays of string_view, of nulls alone and dictionary-encoded ones are converted.
    """
    kind = array.type.value_type if pa.types.is_dictionary(array.type) else array.type
    if not any(check(kind) for check in _STRINGS):
        raise TypeError(f"{name} is of Arrow type {array.type}: pass an array of strings")
    return array.cast(pa.large_string()) if array.type not in (pa.string(), pa.large_string()) else array


def from_bytes(texts: list[bytes]) -> Utf8:
    """UTF-8 texts laid end to end."""
    offsets = np.zeros(len(texts) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)), out=offsets[1:])
    return Utf8(np.frombuffer(b"".join(texts), np.uint8), offsets)


def from_arrow(array: pa.Array) -> Utf8:
    """The texts of an array that `strings_of` takes. Raises TypeError for any other."""
    array = strings_of("texts", array)
    if array.null_count:
        array = pc.fill_null(array, "")
    if len(array) == 0:
        return Utf8(np.frombuffer(b"", np.uint8), np.zeros(1, np.int64))
    _, offsets, content = array.buffers()
    width: Any = np.int64 if pa.types.is_large_string(array.type) else np.int32
    first = array.offset * np.dtype(width).itemsize
    bounds = np.frombuffer(offsets, width, len(array) + 1, first).astype(np.int64)
    characters = np.frombuffer(content if content else b"", np.uint8)
    characters.flags.writeable = False  # Arrow's memory may be either; Numba would compile for each
    return Utf8(characters, bounds)


def pieces(texts: Utf8, size: int) -> Iterator[Utf8]:
    """`texts` in runs of whole texts of at most `size` bytes, or of one longer text, in order."""
    bounds, start = texts.offsets, 0
    while start < len(bounds) - 1:
        stop = int(np.searchsorted(bounds, bounds[start] + size, "right")) - 1
        stop = min(max(stop, start + 1), len(bounds) - 1)
        yield Utf8(texts.content, bounds[start : stop + 1])
        start = stop


def batches(texts: Iterable[str] | Iterable[pa.Array], size: int) -> Iterator[Utf8]:
    """The texts in runs of about `size` bytes. Strings and Arrow arrays may be mixed. Raises TypeError for others."""
    waiting: list[bytes] = []
    held = 0
    for item in texts:
        if isinstance(item, str):
            waiting.append(utf8(item))
            held += len(waiting[-1])
            if held >= size:
                yield from_bytes(waiting)
                waiting, held = [], 0
        elif isinstance(item, pa.ChunkedArray):
            for chunk in item.chunks:
                yield from pieces(from_arrow(chunk), size)
        elif isinstance(item, pa.Array):
            yield from pieces(from_arrow(item), size)
        else:
            raise no_text(item)
    if waiting:
        yield from_bytes(waiting)


def no_text(item: Any) -> TypeError:
    """The error for an item of `texts` that is no text."""
    return TypeError(f"texts holds a {type(item).__name__}: pass strings or Arrow arrays of strings")
