"""Object stores that speak the S3 API (AWS, Ceph RGW, MinIO, R2, ...) as a `Storage`.

In: `s3://bucket/prefix`. Credentials, endpoint and region come from boto3's own configuration (AWS_PROFILE,
AWS_ENDPOINT_URL, ...). Out: the promises of `Storage`. They rest on three things that such a store does atomically: a
PUT, the completion of a multipart upload, and a PUT that carries `If-None-Match: *`, by which the first writer wins.
Some gateways ignore this header and let every writer win, so each store is tested before it is trusted.

Files are finished locally before they are uploaded, so an exception or a kill publishes nothing. Objects are read in
ranges: a connection that breaks costs one range, and an object that changes meanwhile is noticed by its ETag.
"""

from __future__ import annotations

import contextlib
import functools
import io
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpus.store.base import READ_AHEAD, Entry, Storage, Upload

_ATTEMPTS = 5  # at one request: about eight seconds of growing pauses
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
    """A connection. A process makes one for each bucket, because making it takes longer than reading a small object."""

    name: str
    client: Any
    conditional: bool = False  # whether the store was seen to refuse a PUT with If-None-Match


@functools.cache
def connect(bucket: str) -> _Bucket:
    """The connection to a bucket.

    Raises ValueError naming the bucket if boto3 is missing or its configuration is wrong.
    """
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
        # By default boto3 appends checksums as trailers, to which Ceph answers 411. Instead the signature carries the
        # sha256 of the body, which every store compares.
        request_checksum_calculation="when_required",
        s3={"payload_signing_enabled": True},
    )
    try:
        return _Bucket(bucket, boto3.session.Session().client("s3", config=config))
    except (botocore.exceptions.BotoCoreError, ValueError) as error:
        raise ValueError(f"s3://{bucket}: {error}; check the AWS_ variables and ~/.aws/config") from None


class S3Storage(Storage):
    """A prefix in a bucket."""

    def __init__(self, root: str) -> None:
        bucket, _, prefix = root.removeprefix("s3://").rstrip("/").partition("/")
        if not bucket:
            raise ValueError(f"{root}: names no bucket; use s3://bucket/prefix")
        self.root = root.rstrip("/")
        self._prefix = f"{prefix}/" if prefix else ""
        self._bucket = connect(bucket)

    def entries(self, prefix: str) -> Sequence[Entry]:
        return sorted(
            Entry(self._key(item), item["Size"], item["ETag"].strip('"'), item["LastModified"].timestamp())
            for page in self._pages("list_objects_v2", prefix, Delimiter="/")
            for item in page.get("Contents", ())
            if not item["Key"].endswith("/")  # an object that web consoles make for an empty folder
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

        The answer to a PUT can be lost on its way. boto3 then sends the PUT again, and the store refuses it because the
        first one arrived. So after a retry the object itself decides: if it holds our bytes, we were first. The price:
        two rivals who write the same bytes may both be told that they were first.
        """
        with self._errors(key):
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
            self._bucket.client.put_object(**self._at(key), Body=data)

    def remove(self, key: str) -> None:
        with self._errors(key):
            self._bucket.client.delete_object(**self._at(key))

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
        # boto3 tries again until an answer begins, but not when the answer breaks off in the middle.
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
            if _status(error) != 416:  # the object ends before `start`
                raise
            data = b""
        return self.checked_range(key, start, length, data)

    def _refused(self, key: str, data: bytes) -> tuple[bool, bool]:
        """Try to PUT a new object. Returns (whether the store refused it, whether boto3 sent it more than once)."""
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
        """Turn botocore's exceptions into OSError or ValueError that name the object and the fix."""
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
    """The error that the store answered with, or a failed upload, in one line."""
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
            "(without the right to list, a missing object looks the same)"
        )
    if _status(error) == 412:
        return OSError(f"{address}: was written again while it was being read; inputs must not change during a run")
    return OSError(f"{address}: {error.operation_name} was answered with {_status(error)} {code} {message}".rstrip())


def _unanswered(address: str, error: Exception) -> OSError | ValueError:
    """An error that came before any answer of the store, in one line."""
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
