"""`s3://bucket/prefix`: object stores that speak the S3 API (AWS, Ceph RGW, MinIO, R2, ...).

Bytes go through obstore (`corpus.store.cloud`). boto3 finds credentials, endpoint and region where AWS's own tools find
them (AWS_PROFILE, AWS_ENDPOINT_URL, ~/.aws/config, single sign-on, roles), which obstore does not. It also lists and
gives up unfinished uploads, for which obstore has no function.
"""

from __future__ import annotations

import contextlib
import functools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from corpus.store.base import Upload
from corpus.store.cloud import CloudStorage, Names

_AWS = ".amazonaws.com"


class S3Storage(CloudStorage):
    """A prefix in a bucket of a store that speaks the S3 API."""

    scheme = "s3"
    names = Names("AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL")

    @classmethod
    def reach(cls, bucket: str) -> tuple[Callable[..., Any], str]:
        import botocore.exceptions
        from obstore.auth.boto3 import Boto3CredentialProvider
        from obstore.store import S3Store

        try:
            session, client = _session()
        except (botocore.exceptions.BotoCoreError, ValueError) as error:
            raise ValueError(f"s3://{bucket}: {error}; check the AWS_ variables and ~/.aws/config") from None
        endpoint: str = client.meta.endpoint_url
        options: dict[str, Any] = {"region": _region(client, bucket) if _AWS in endpoint else client.meta.region_name}
        if _AWS not in endpoint:
            options["endpoint"] = endpoint
        if os.environ.get("AWS_SKIP_SIGNATURE", "").lower() in ("1", "true", "yes"):
            options["skip_signature"] = True
        elif session.get_credentials() is None:
            raise ValueError(
                f"s3://{bucket}: no credentials; set {cls.names.keys}, or AWS_SKIP_SIGNATURE=true for a public bucket"
            )
        else:
            options["credential_provider"] = Boto3CredentialProvider(session, ttl=timedelta(minutes=5))
        bundle = os.environ.get("AWS_CA_BUNDLE") or os.environ.get("REQUESTS_CA_BUNDLE")

        def make(client_options: Any, retry_config: Any) -> Any:
            more = {"root_certificate": Path(bundle).read_bytes()} if bundle else {}
            return S3Store(bucket, client_options=client_options | more, retry_config=retry_config, **options)

        return make, endpoint

    def unfinished(self, min_age: float) -> Sequence[Upload]:
        latest = time.time() - min_age
        with self._boto_errors("") as client:
            pages = client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self._bucket.name, Prefix=self._prefix
            )
            return [
                Upload(self._key(item["Key"]), item["UploadId"], item["Initiated"].timestamp())
                for page in pages
                for item in page.get("Uploads", ())
                if item["Initiated"].timestamp() <= latest
            ]

    def abort(self, upload: Upload) -> None:
        with contextlib.suppress(FileNotFoundError), self._boto_errors(upload.key) as client:
            client.abort_multipart_upload(Bucket=self._bucket.name, Key=self._prefix + upload.key, UploadId=upload.id)

    @contextlib.contextmanager
    def _boto_errors(self, key: str) -> Iterator[Any]:
        """boto3's client, whose exceptions become OSError or ValueError that name the object and the fix."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield _session()[1]
        except ClientError as error:
            code, message = error.response["Error"].get("Code", ""), error.response["Error"].get("Message", "")
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            line = f"Error performing {error.operation_name}: <Message>{message}</Message>"
            raise self.reason(self._address(key), code, status, line) from None
        except BotoCoreError as error:
            raise self.reason(self._address(key), "", None, f"HTTP error: {error}") from None


@functools.cache
def _session() -> tuple[Any, Any]:
    """boto3's session and its client of S3."""
    import boto3
    import botocore.config

    config = botocore.config.Config(
        retries={"mode": "standard", "total_max_attempts": 5}, connect_timeout=10, read_timeout=60
    )
    session = boto3.session.Session()
    return session, session.client("s3", config=config)


def _region(client: Any, bucket: str) -> str:
    """The region of a bucket of AWS, which says it even to those who may not read the bucket."""
    from botocore.exceptions import BotoCoreError, ClientError

    region: str = client.meta.region_name
    try:
        return str(client.head_bucket(Bucket=bucket).get("BucketRegion", region))
    except ClientError as error:
        return str(error.response["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region", region))
    except BotoCoreError:
        return region
