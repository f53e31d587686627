"""Object stores that speak the S3 API (AWS, Ceph RGW, MinIO, R2, ...) as a `Storage`.

In: `s3://bucket/prefix`; credentials, endpoint and region come from boto3's own configuration (AWS_PROFILE,
AWS_ENDPOINT_URL, ...). Out: the promises of `Storage`, kept by what such a store does atomically: a PUT, the
completion of a multipart upload, and a PUT that carries `If-None-Match: *`, which is how the first writer wins. There
are gateways that ignore this header and let every writer win, so a store is put to the test before it is believed.

Files are finished locally before they are uploaded, so an exception or a kill publishes nothing. Reading is by ranges:
a connection that breaks costs one of them, and an object that changes meanwhile is noticed by its ETag.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from corpus.store.base import Entry, Upload, scratch_in, sweep_in

READ_AHEAD = 4 << 20  # bytes a request when an object is read from its beginning to its end
_ATTEMPTS = 5  # of a request: about eight seconds of growing pauses
_KEYS = "AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
_REASONS = {  # error code -> the fix
    "NoSuchBucket": "there is no such bucket; create it, or check its name and AWS_ENDPOINT_URL",
    "InvalidAccessKeyId": f"the store does not know this access key; check {_KEYS}",
    "SignatureDoesNotMatch": f"the secret key is wrong; check {_KEYS}",
    "ExpiredToken": "the credentials have expired; renew them",
    "PermanentRedirect": "the bucket is in another region; set AWS_DEFAULT_REGION",
    "SlowDown": "the store asks to slow down; try again with fewer workers",
}


@dataclass
class _Bucket:
    """A connection, made once a process: a client takes longer to make than a small object to read."""

    name: str
    client: Any
    conditional: bool = False  # whether the store was seen to refuse a PUT with If-None-Match


@functools.cache
def connect(bucket: str) -> _Bucket:
    """Raises ValueError naming the bucket if boto3 is missing or its configuration is wrong."""
    try:
        import boto3
        import botocore.config
        import botocore.exceptions
    except ModuleNotFoundError as error:
        raise ValueError(f"s3://{bucket}: {error.name} is not installed; pip install '.[s3]' brings it") from None
    config = botocore.config.Config(
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        connect_timeout=10,
        read_timeout=60,
        max_pool_connections=32,
        # The default appends checksums as trailers, and Ceph answers 411 to those. The sha256 of the body is in the
        # signature instead, which every store compares.
        request_checksum_calculation="when_required",
        s3={"payload_signing_enabled": True},
    )
    try:
        return _Bucket(bucket, boto3.session.Session().client("s3", config=config))
    except (botocore.exceptions.BotoCoreError, ValueError) as error:
        raise ValueError(f"s3://{bucket}: {error}; check the AWS_ variables and ~/.aws/config") from None


class S3Storage:
    """A prefix in a bucket."""

    def __init__(self, root: str) -> None:
        bucket, _, prefix = root.removeprefix("s3://").rstrip("/").partition("/")
        if not bucket:
            raise ValueError(f"{root}: names no bucket; use s3://bucket/prefix")
        self.root = root.rstrip("/")
        self._prefix = f"{prefix}/" if prefix else ""
        self._bucket = connect(bucket)

    def list(self, prefix: str) -> list[str]:
        return [entry.key for entry in self.entries(prefix)]

    def entries(self, prefix: str) -> Sequence[Entry]:
        return sorted(
            Entry(self._key(item), item["Size"], item["ETag"].strip('"'), item["LastModified"].timestamp())
            for page in self._pages("list_objects_v2", prefix, Delimiter="/")
            for item in page.get("Contents", ())
            if not item["Key"].endswith("/")  # what consoles make for an empty folder
        )

    def folders(self, prefix: str) -> Sequence[str]:
        return sorted(
            item["Prefix"].removeprefix(self._prefix).rstrip("/")
            for page in self._pages("list_objects_v2", prefix, Delimiter="/")
            for item in page.get("CommonPrefixes", ())
        )

    def is_folder(self, prefix: str) -> bool:
        page = next(self._pages("list_objects_v2", prefix, PaginationConfig={"PageSize": 1}))
        return bool(page.get("Contents"))

    def read(self, key: str) -> bytes | None:
        try:
            with self._errors(key):
                return self._get(key)
        except FileNotFoundError:
            return None

    def read_range(self, key: str, start: int, length: int) -> bytes:
        with self._errors(key):
            return self._range(key, start, length)

    def open(self, key: str) -> io.BufferedReader:
        with self._errors(key):
            head = self._head(key)

        def fetch(start: int, length: int) -> bytes:
            with self._errors(key):
                return self._range(key, start, length, IfMatch=head["ETag"])

        return io.BufferedReader(_RangeReader(fetch, head["ContentLength"]), READ_AHEAD)

    @contextlib.contextmanager
    def local_path(self, key: str) -> Iterator[Path]:
        with self.scratch() as scratch:
            folder = scratch / "folder"
            folder.mkdir()
            inside = self.list(key)
            for item in inside or [key]:
                with self.open(item) as source, (folder / PurePosixPath(item).name).open("wb") as target:
                    shutil.copyfileobj(source, target, READ_AHEAD)
            yield folder if inside else folder / PurePosixPath(key).name

    def size(self, key: str) -> int | None:
        try:
            return self.fingerprint(key)[0]
        except FileNotFoundError:
            return None

    def fingerprint(self, key: str) -> tuple[int, str]:
        with self._errors(key):
            head = self._head(key)
        return head["ContentLength"], head["ETag"].strip('"')

    def publish(self, local: Path, key: str) -> None:
        if self.size(key) is not None:
            return
        with self._errors(key):
            self._bucket.client.upload_file(str(local), self._bucket.name, self._prefix + key)

    def create(self, key: str, data: bytes) -> bool:
        """See `Storage.create`. Raises ValueError naming a store that lets every writer win.

        An answer can be lost on its way, and the request sent again is then refused because of the first. So where
        boto3 has retried, what is there decides: our bytes are ours. Only rivals who write the same bytes may then
        both be told that they were first.
        """
        with self._errors(key):
            refused, retried = self._refused(key, data)
            if refused:
                self._bucket.conditional = True
                return retried and self.read(key) == data
            # Once a process, the same bytes again: these must be refused.
            if not self._bucket.conditional and not self._refused(key, data)[0]:
                raise self._unconditional()
            self._bucket.conditional = True
        return True

    def replace(self, key: str, data: bytes) -> None:
        with self._errors(key):
            self._bucket.client.put_object(**self._at(key), Body=data)

    def make_folder(self, prefix: str) -> None:
        """Keys need none."""

    def remove(self, key: str) -> None:
        with self._errors(key):
            self._bucket.client.delete_object(**self._at(key))

    def scratch(self) -> contextlib.AbstractContextManager[Path]:
        return scratch_in(_scratch_base())

    def sweep(self) -> None:
        sweep_in(_scratch_base())

    def unfinished(self, min_age: float) -> Sequence[Upload]:
        latest = time.time() - min_age
        return [
            Upload(self._key(item), item["UploadId"], item["Initiated"].timestamp())
            for page in self._pages("list_multipart_uploads", "")
            for item in page.get("Uploads", ())
            if item["Initiated"].timestamp() <= latest
        ]

    def abort(self, upload: Upload) -> None:
        with contextlib.suppress(FileNotFoundError), self._errors(upload.key):
            self._bucket.client.abort_multipart_upload(**self._at(upload.key), UploadId=upload.id)

    def _at(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket.name, "Key": self._prefix + key}

    def _key(self, item: dict[str, Any]) -> str:
        key: str = item["Key"]
        return key.removeprefix(self._prefix)

    def _pages(self, operation: str, prefix: str, **options: Any) -> Iterator[dict[str, Any]]:
        folder = f"{self._prefix}{prefix}/" if prefix else self._prefix
        with self._errors(prefix):
            yield from self._bucket.client.get_paginator(operation).paginate(
                Bucket=self._bucket.name, Prefix=folder, **options
            )

    def _head(self, key: str) -> dict[str, Any]:
        head: dict[str, Any] = self._bucket.client.head_object(**self._at(key))
        return head

    def _get(self, key: str, **options: str) -> bytes:
        # boto3 tries again until the answer begins, but not when it breaks off.
        from botocore.exceptions import HTTPClientError, IncompleteReadError

        attempt = 1
        while True:
            body = self._bucket.client.get_object(**self._at(key), **options)["Body"]
            try:
                data: bytes = body.read()
                return data
            except (HTTPClientError, IncompleteReadError):
                if attempt == _ATTEMPTS:
                    raise
            _pause(attempt)
            attempt += 1

    def _range(self, key: str, start: int, length: int, **options: str) -> bytes:
        from botocore.exceptions import ClientError

        if length == 0:
            return b""
        try:
            data = self._get(key, Range=f"bytes={start}-{start + length - 1}", **options)
        except ClientError as error:
            if _status(error) != 416:  # it ends even before `start`
                raise
            data = b""
        if len(data) != length:
            raise ValueError(f"{self.root}/{key}: ends before byte {start + length}; it was cut, or is another object")
        return data

    def _refused(self, key: str, data: bytes) -> tuple[bool, bool]:
        """PUT unless there is an object: (whether it was refused, whether boto3 sent it more than once)."""
        from botocore.exceptions import ClientError

        attempt = 1
        while True:
            try:
                self._bucket.client.put_object(**self._at(key), Body=data, IfNoneMatch="*")
                return False, False
            except ClientError as error:
                if _status(error) == 412:
                    return True, error.response["ResponseMetadata"].get("RetryAttempts", 0) > 0
                if _status(error) == 501:
                    raise self._unconditional() from None
                if _status(error) != 409 or attempt == _ATTEMPTS:  # 409: another PUT is under way
                    raise
            _pause(attempt)
            attempt += 1

    def _unconditional(self) -> ValueError:
        return ValueError(
            f"{self.root}: {self._bucket.client.meta.endpoint_url} ignores If-None-Match, so two runs could overwrite "
            "each other's records; use a store with conditional writes, or a local output folder"
        )

    @contextlib.contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        """botocore's exceptions as OSError or ValueError that name the object and the fix."""
        from boto3.exceptions import S3UploadFailedError
        from botocore.exceptions import BotoCoreError, ClientError

        address = f"{self.root}/{key}" if key else self.root
        try:
            yield
        except ClientError as error:
            raise _explained(address, error) from None
        except S3UploadFailedError as error:
            cause = error.__context__
            raise _explained(address, cause if isinstance(cause, ClientError) else error) from None
        except BotoCoreError as error:
            raise _unanswered(address, error) from None


class _RangeReader(io.RawIOBase):
    """A seekable object of `size` bytes; each read is one call of `fetch(start, length)`."""

    def __init__(self, fetch: Callable[[int, int], bytes], size: int) -> None:
        self._fetch = fetch
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if position < 0:
            raise ValueError(f"negative seek position {position}")
        self._position = position
        return position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        length = max(0, min(len(buffer), self._size - self._position))
        if length:
            buffer[:length] = self._fetch(self._position, length)
            self._position += length
        return length


def _explained(address: str, error: Any) -> OSError:
    """An answer of the store, or a failed upload, in one line."""
    if not hasattr(error, "response"):
        return OSError(f"{address}: {error}")
    code, message = error.response["Error"].get("Code", ""), error.response["Error"].get("Message", "")
    if code in _REASONS:
        return OSError(f"{address}: {_REASONS[code]}")
    if _status(error) == 404:
        return FileNotFoundError(f"{address}: no such object")
    if _status(error) == 403:
        return PermissionError(
            f"{address}: access denied; the credentials need to list, read and write there "
            "(where they may not list, a missing object looks the same)"
        )
    if _status(error) == 412:
        return OSError(f"{address}: was written again while it was being read; inputs must not change during a run")
    return OSError(f"{address}: {error.operation_name} was answered with {_status(error)} {code} {message}".rstrip())


def _unanswered(address: str, error: Exception) -> OSError | ValueError:
    """What went wrong before there was an answer, in one line."""
    from botocore import exceptions

    if isinstance(error, (exceptions.NoCredentialsError, exceptions.PartialCredentialsError)):
        return ValueError(f"{address}: no credentials; set {_KEYS}")
    if isinstance(error, (exceptions.ConnectionError, exceptions.HTTPClientError)):
        return ConnectionError(f"{address}: {error}; check AWS_ENDPOINT_URL and the network")
    return OSError(f"{address}: {error}")


def _status(error: Any) -> int:
    status: int = error.response["ResponseMetadata"]["HTTPStatusCode"]
    return status


def _pause(attempt: int) -> None:
    time.sleep(random.uniform(0, 0.1 * 2**attempt))


def _scratch_base() -> Path:
    return Path(tempfile.gettempdir(), f"corpus-{os.getuid()}")
