"""A storage that shares nothing with local files: the smallest that keeps all promises."""

from __future__ import annotations

import hashlib
import io
import itertools
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from corpus.store.base import Entry, Storage


class MemoryStorage(Storage):
    """`mem://name/prefix`: objects in the memory of this process."""

    objects: ClassVar[dict[str, tuple[bytes, Entry]]] = {}  # by address
    lock = threading.Lock()
    writes = itertools.count()

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/")

    def entries(self, prefix: str) -> Sequence[Entry]:
        below = self._below(prefix)
        return sorted(entry._replace(key=key) for key, entry in below.items() if "/" not in key[len(prefix) + 1 :])

    def folders(self, prefix: str) -> Sequence[str]:
        start = len(prefix) + 1 if prefix else 0
        return sorted({key[: key.index("/", start)] for key in self._below(prefix) if "/" in key[start:]})

    def open(self, key: str) -> io.BufferedReader:
        return io.BufferedReader(io.BytesIO(self._object(key)))  # type: ignore[arg-type] # as good as a raw stream

    def fingerprint(self, key: str) -> tuple[int, str]:
        data = self._object(key)
        return len(data), hashlib.sha256(data).hexdigest()

    def publish(self, local: Path, key: str) -> None:
        self.create(key, local.read_bytes())

    def create(self, key: str, data: bytes) -> bool:
        with self.lock:
            if self._address(key) in self.objects:
                return False
            self._write(key, data)
            return True

    def replace(self, key: str, data: bytes) -> None:
        with self.lock:
            self._write(key, data)

    def remove(self, key: str) -> None:
        self.objects.pop(self._address(key), None)

    def _address(self, key: str) -> str:
        return f"{self.root}/{key}"

    def _below(self, prefix: str) -> dict[str, Entry]:
        start = self._address(f"{prefix}/") if prefix else self._address("")
        addresses = [address for address in list(self.objects) if address.startswith(start)]
        return {address.removeprefix(f"{self.root}/"): self.objects[address][1] for address in addresses}

    def _object(self, key: str) -> bytes:
        try:
            return self.objects[self._address(key)][0]
        except KeyError:
            raise FileNotFoundError(f"{self._address(key)}: no such object") from None

    def _write(self, key: str, data: bytes) -> None:
        self.objects[self._address(key)] = data, Entry(key, len(data), str(next(self.writes)), time.time())
