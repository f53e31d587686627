"""Encodes with unmapped pages around the text and after every array that the encoder writes; test_memory runs it.

The kernels work on raw addresses. Here a read or write beyond the end of an array ends the process.
"""

from __future__ import annotations

import ctypes
import itertools
import mmap
import sys
import weakref
from typing import Any

import numpy as np
import pyarrow as pa

import bpe.encode
from bpe.encode import Encoder
from bpe.vocabulary import Vocabulary

PAGE = mmap.PAGESIZE
BYTES = tuple(bytes([byte]) for byte in range(256))
RUNS = tuple(b"a" * 2**i for i in range(1, 12))
WORDS = (b"th", b"the", b" the", b" don", b"international", b" international committee", "字".encode())
TEXTS = [
    b" don't stop the international committee 1234" * 6,
    b"a" * 300,
    b"\0" * 300,
    "字é 👩\u200d😀\u3000".encode() * 20,
    b"\xff\xe5\xad\xf0\x9f" * 60,
    b"\r\n \t" * 80,
]
SIZES = [*range(201), 255, 256, 257]


def pages(size: int) -> int:
    """The address of whole pages for `size` bytes, between two pages that must not be touched."""
    library = ctypes.CDLL(None, use_errno=True)
    library.mmap.restype = ctypes.c_void_p
    library.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    library.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    room = -(-size // PAGE) * PAGE
    start = library.mmap(None, room + 2 * PAGE, 0, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    assert start not in (None, ctypes.c_void_p(-1).value), "no memory"
    assert not room or library.mprotect(start + PAGE, room, mmap.PROT_READ | mmap.PROT_WRITE) == 0
    return int(start) + PAGE


def release(end: int, size: int) -> None:
    room = -(-size // PAGE) * PAGE
    ctypes.CDLL(None).munmap(ctypes.c_void_p(end - room - PAGE), ctypes.c_size_t(room + 2 * PAGE))


class Guarded(np.ndarray[Any, Any]):
    """An array whose last byte is the last of a page, before an unmapped page."""

    def resize(self, *shape: Any, refcheck: bool = True) -> None:
        """Does nothing: the pages are not the allocator's."""


def guarded(shape: Any, dtype: Any = float) -> Any:
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    start = pages(size) + -(-size // PAGE) * PAGE - size
    memory = (ctypes.c_uint8 * size).from_address(start)
    weakref.finalize(memory, release, start + size, size)
    return np.frombuffer(memory, dtype).reshape(shape).view(Guarded) if size else np.empty(shape, dtype).view(Guarded)


class GuardedNumpy:
    """numpy, except that arrays end where memory ends."""

    empty = zeros = staticmethod(guarded)  # pages come filled with zeros

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


def arrays(content: bytes) -> list[pa.Array]:
    """`content` as an Arrow array that ends where memory ends, and as one that starts where memory starts."""
    found = []
    for before in (-len(content) % PAGE, 0):
        address = pages(len(content)) + before
        ctypes.memmove(address, content, len(content))
        bounds = pa.py_buffer(np.array([0, len(content)], np.int32))
        found.append(pa.Array.from_buffers(pa.string(), 1, [None, bounds, pa.foreign_buffer(address, len(content))]))
    return found


def vocabularies() -> list[Vocabulary]:
    long = (*BYTES, *RUNS, *WORDS)
    merges = tuple((256 + i - 1 if i else 97, 256 + i - 1 if i else 97) for i in range(len(RUNS)))
    wide = {"<|endoftext|>": 70_000}  # ids of four bytes
    found = [Vocabulary(long, pattern, special) for pattern in ("gpt2", "cl100k", "o200k") for special in ({}, wide)]
    found += [Vocabulary(BYTES, "cl100k", {}), Vocabulary(long, r"\s?\S+|\s", {}), Vocabulary(long, "(?s:.+)", wide)]
    return [*found, Vocabulary(long, "gpt2", {}, merges), Vocabulary(long, "gpt2", wide, merges, ignore_merges=True)]


def main() -> None:
    texts = [(text[:size], arrays(text[:size])) for text, size in itertools.product(TEXTS, SIZES)]
    texts += [(text, arrays(text)) for text in (b"ab" * 3000, b"a" * 20_000 + b"b")]
    vars(bpe.encode).update(np=GuardedNumpy(), _lines=lambda size: guarded(size, np.uint8))
    for vocabulary in vocabularies():
        encoder = Encoder(vocabulary, cache_entries=64)
        for content, both in texts:
            for array in both:
                offsets, ids = encoder.encode_batch(array)
                assert encoder.decode_bytes(ids[: offsets[-1]]) == content, (vocabulary.pattern, content)
    sys.stdout.write("no page was touched that should not be\n")


if __name__ == "__main__":
    main()
