"""Object stores as a `Storage`, by the library obstore: what S3, Google Cloud Storage and Azure have in common.

In: the address of a bucket (Azure: of a container) and a prefix in it. Out: the promises of `Storage`. They rest on
three things that such a store does atomically: a PUT, the completion of an upload in parts, and a PUT on the condition
that there is no such object, by which the first writer wins. Some gateways ignore the condition and let every writer
win, so each store is tested before it is trusted.

Files are finished locally before they are uploaded, so an exception or a kill publishes nothing. Objects are read in
ranges: a connection that breaks costs one range, and an object that changes meanwhile is noticed by its ETag.

`corpus.store.s3`, `google` and `azure` say how each store is reached.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import random
import re
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from io import BufferedReader
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from corpus.store.base import Entry, Storage
from corpus.store.ranges import range_reader

_ATTEMPTS = 5  # at one request: about eight seconds of growing pauses
_PART = 8 << 20  # bytes of a part of an upload
_MOST_PARTS = 10_000  # that S3 takes for one object
_REASONS = {  # error code -> the fix; the codes of S3 and Google, then those of Azure
    "NoSuchBucket": "there is no such bucket; create it, or check its name and {endpoint}",
    "InvalidAccessKeyId": "the store does not know this access key; check {keys}",
    "SignatureDoesNotMatch": "the secret key is wrong; check {keys}",
    "ExpiredToken": "the credentials have expired; renew them",
    "PermanentRedirect": "the bucket is in another region; set AWS_DEFAULT_REGION",
    "SlowDown": "the store asks to slow down; try again with fewer workers",
    "ContainerNotFound": "there is no such container; create it, or check its name and {endpoint}",
    "AuthenticationFailed": "the store does not accept the credentials; check {keys}",
    "ServerBusy": "the store asks to slow down; try again with fewer workers",
}
_HAS_IT = ("PreconditionFailed", "BlobAlreadyExists")  # codes by which a store refuses a second writer


@dataclass
class Bucket:
    """A connection. A process makes one for each bucket, because making it takes longer than reading a small object."""

    name: str
    store: Any  # obstore's; it repeats requests that fail
    once: Any  # obstore's; it does not
    endpoint: str  # for messages
    conditional: bool = False  # whether the store was seen to refuse a PUT of an object that is there


class Names(NamedTuple):
    """What a user sets for a kind of store; in messages."""

    keys: str  # where credentials come from
    endpoint: str  # where the address of the store comes from


class CloudStorage(Storage):
    """A prefix in a bucket."""

    scheme: ClassVar[str]
    names: ClassVar[Names]

    def __init__(self, root: str) -> None:
        bucket, _, prefix = root.partition("://")[2].strip("/").partition("/")
        if not bucket or root.partition("://")[2].startswith("/"):
            raise ValueError(f"{root}: names no bucket; use {self.scheme}://bucket/prefix")
        self.root = root.rstrip("/")
        self._prefix = f"{prefix}/" if prefix else ""
        self._bucket = connect(type(self), bucket)

    @classmethod
    @abstractmethod
    def reach(cls, bucket: str) -> tuple[Callable[..., Any], str]:
        """(a function that makes obstore's store of a bucket, the address of the store).

        The function takes `client_options` and `retry_config`. Raises ValueError for a wrong configuration.
        """

    def entries(self, prefix: str) -> Sequence[Entry]:
        with self._errors(prefix):
            listed = self._bucket.store.list_with_delimiter(self._folder(prefix))["objects"]
        return sorted(
            Entry(self._key(item["path"]), item["size"], _stamp(item), item["last_modified"].timestamp())
            for item in listed
        )

    def folders(self, prefix: str) -> Sequence[str]:
        with self._errors(prefix):
            listed = self._bucket.store.list_with_delimiter(self._folder(prefix))["common_prefixes"]
        return sorted(map(self._key, listed))

    def is_folder(self, prefix: str) -> bool:
        with self._errors(prefix):
            return any(page for page in self._bucket.store.list(self._folder(prefix), chunk_size=1))

    def read(self, key: str) -> bytes | None:
        try:
            with self._errors(key):
                return bytes(self._bucket.store.get(self._prefix + key).bytes())
        except FileNotFoundError:
            return None

    def read_range(self, key: str, start: int, length: int) -> bytes:
        return self._range(key, start, length)

    def open(self, key: str) -> BufferedReader:
        size, stamp = self.fingerprint(key)
        return range_reader(lambda start, length: self._range(key, start, length, stamp), size)

    def fingerprint(self, key: str) -> tuple[int, str]:
        with self._errors(key):
            head = self._bucket.store.head(self._prefix + key)
        return head["size"], _stamp(head)

    def publish(self, local: Path, key: str) -> None:
        if self.size(key) is not None:
            return
        with self._errors(key):
            part = max(_PART, -(-local.stat().st_size // _MOST_PARTS))
            self._bucket.store.put(self._prefix + key, local, chunk_size=part, max_concurrency=4)

    def create(self, key: str, data: bytes) -> bool:
        """See `Storage.create`. Raises ValueError naming a store that lets every writer win.

        The answer to a PUT can be lost on its way. The PUT is then sent again, and the store refuses it because the
        first one arrived. So after a retry the object itself decides: if it holds our bytes, we were first. The price:
        two rivals who write the same bytes may both be told that they were first.
        """
        refused, retried = self._refused(key, data)
        if refused:
            self._bucket.conditional = True
            return retried and self.read(key) == data
        # The test of the store, once a process: the same PUT again, which it must refuse.
        if not self._bucket.conditional and not self._refused(key, data)[0]:
            raise self._unconditional()
        self._bucket.conditional = True
        return True

    def replace(self, key: str, data: bytes) -> None:
        with self._errors(key):
            self._bucket.store.put(self._prefix + key, data, use_multipart=False)

    def remove(self, key: str) -> None:
        with contextlib.suppress(FileNotFoundError), self._errors(key):
            self._bucket.store.delete(self._prefix + key)

    def _folder(self, prefix: str) -> str | None:
        return f"{self._prefix}{prefix}".rstrip("/") or None

    def _key(self, path: str) -> str:
        return path.removeprefix(self._prefix)

    def _range(self, key: str, start: int, length: int, stamp: str | None = None) -> bytes:
        """`length` bytes of the object, of its version `stamp` if one is given."""
        if length == 0:
            return b""
        options: dict[str, Any] = {"range": (start, start + length)}
        if stamp and not stamp.startswith(_NO_ETAG):
            options["if_match"] = f'"{stamp}"'
        with self._errors(key):
            try:
                result = self._bucket.store.get(self._prefix + key, options=options)
                # Not every store knows If-Match.
                if stamp and _stamp(result.meta) != stamp:
                    raise _changed(self._address(key))
                data = bytes(result.bytes())
            except _library().BaseError as error:
                # The object ends before `start`. Azure answers with all of it, and obstore notices.
                if _status(error) != 416 and "Wanted range starting at" not in str(error):
                    raise
                data = b""
        return self.checked_range(key, start, length, data)

    def _refused(self, key: str, data: bytes) -> tuple[bool, bool]:
        """Try to PUT a new object. Returns (whether the store refused it, whether it was sent more than once)."""
        library = _library()
        attempt = 1
        while True:
            with self._errors(key):
                try:
                    self._bucket.once.put(self._prefix + key, data, mode="create", use_multipart=False)
                    return False, attempt > 1
                except library.BaseError as error:
                    status = _status(error)
                    if status == 412 or _code(error) in _HAS_IT:
                        return True, attempt > 1
                    if status == 501 or isinstance(error, library.NotSupportedError):
                        raise self._unconditional() from None
                    passes = status is None or status in (408, 409, 429) or status >= 500  # 409: another is under way
                    if not passes or not isinstance(error, library.GenericError | library.AlreadyExistsError):
                        raise
                    if attempt == _ATTEMPTS:
                        raise
            _pause(attempt)
            attempt += 1

    def _unconditional(self) -> ValueError:
        return ValueError(
            f"{self.root}: {self._bucket.endpoint} ignores If-None-Match, so two runs could overwrite "
            "each other's records; use a store with conditional writes, or a local output folder"
        )

    def _address(self, key: str) -> str:
        return f"{self.root}/{key}" if key else self.root

    @contextlib.contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        """Turn obstore's exceptions into OSError or ValueError that name the object and the fix."""
        try:
            yield
        except _library().BaseError as error:
            raise self._explained(key, error) from None
        except FileNotFoundError as error:  # obstore has no class of its own for it
            raise error if error.filename else self._explained(key, error) from None

    def _explained(self, key: str, error: Exception) -> OSError | ValueError:
        address, line = self._address(key), str(error).partition("\n\nDebug source")[0]
        status = 404 if isinstance(error, FileNotFoundError) else _status(error)
        return self.reason(address, _code(error), status, line)

    @classmethod
    def reason(cls, address: str, code: str, status: int | None, line: str) -> OSError | ValueError:
        """The error with which a store answered, or why there was no answer (`status` is None), in one line."""
        if re.search(r"performing token request|169\.254\.169\.254|metadata\.google", line):
            return ValueError(f"{address}: no credentials; set {cls.names.keys}")
        if code in _REASONS:
            return OSError(f"{address}: {_REASONS[code].format(keys=cls.names.keys, endpoint=cls.names.endpoint)}")
        if status == 404:
            return FileNotFoundError(f"{address}: no such object")
        if status in (401, 403):
            return PermissionError(
                f"{address}: access denied; the credentials need to list, read and write there "
                "(without the right to list, a missing object looks the same)"
            )
        if status == 412:
            return _changed(address)
        if status is not None:
            method = re.search(r"Error performing ([A-Z]+) ", line)
            return OSError(
                f"{address}: {method[1] if method else 'a request'} was answered with {status} {code} {_message(line)}"
            )
        if "incorrectly configured region" in line:
            return OSError(f"{address}: {_REASONS['PermanentRedirect']}")
        if re.search("HTTP error|error sending|error performing|timed? ?out", line, re.IGNORECASE):
            shown = re.sub(r"\s+", " ", line.removeprefix("Generic ")).strip()
            return ConnectionError(f"{address}: {shown}; check {cls.names.endpoint} and the network")
        return OSError(f"{address}: {' '.join(line.split())}")


@functools.cache
def connect(kind: type[CloudStorage], bucket: str) -> Bucket:
    """The connection to a bucket.

    Raises ValueError naming the bucket if obstore is missing or the configuration is wrong.
    """
    address = f"{kind.scheme}://{bucket}"
    try:
        library = _library()
        make, endpoint = kind.reach(bucket)
    except ModuleNotFoundError as error:
        raise ValueError(f"{address}: {error.name} is not installed; pip install '.[cloud]' brings it") from None
    client = {
        "connect_timeout": timedelta(seconds=10),
        "read_timeout": timedelta(seconds=60),
        "timeout": timedelta(minutes=10),  # of one request: a part, or a range
        "allow_http": endpoint.startswith("http://"),
    }
    waits = {"init_backoff": timedelta(milliseconds=200), "max_backoff": timedelta(seconds=15), "base": 2}
    stores = [
        {"max_retries": retries, "retry_timeout": timedelta(minutes=3), "backoff": waits}
        for retries in (_ATTEMPTS - 1, 0)
    ]
    try:
        store, once = (make(client_options=client, retry_config=retry) for retry in stores)
    except (library.BaseError, ValueError) as error:
        line = re.sub(r"^Generic \w+ error: ", "", str(error).partition("\n")[0])
        raise ValueError(f"{address}: {line}; check {kind.names.keys}") from None
    return Bucket(bucket, store, once, endpoint)


def _library() -> Any:
    """obstore's exceptions."""
    return importlib.import_module("obstore.exceptions")


_NO_ETAG = "modified-"


def _stamp(meta: Any) -> str:
    """The ETag of an object; of a store that has none, its time of change and size."""
    if etag := meta["e_tag"]:
        return str(etag).strip('"')
    return f"{_NO_ETAG}{meta['last_modified'].timestamp()}-{meta['size']}"


def _status(error: Exception) -> int | None:
    """The status of a store's answer; None if there was none."""
    found = re.search(r"status code: (\d{3})", str(error).partition("\n\nDebug source")[0])
    return int(found[1]) if found else None


def _code(error: Exception) -> str:
    """The code of an error in a store's own words, such as NoSuchBucket; "" if it gave none."""
    found = re.search(r"<Code>(\w+)</Code>", str(error))
    return found[1] if found else ""


def _message(line: str) -> str:
    found = re.search(r"<Message>([^<]*)</Message>", line)
    return " ".join(found[1].split()) if found else ""


def _changed(address: str) -> OSError:
    return OSError(f"{address}: was written again while it was being read; inputs must not change during a run")


def _pause(attempt: int) -> None:
    time.sleep(random.uniform(0, 0.1 * 2**attempt))
