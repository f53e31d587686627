"""`gs://bucket/prefix`: Google Cloud Storage.

Credentials are found by obstore: GOOGLE_APPLICATION_CREDENTIALS, what `gcloud auth application-default login` left, or
the machine's service account. GOOGLE_SKIP_SIGNATURE=true reads public buckets without any. STORAGE_EMULATOR_HOST names
another server, as for Google's own libraries.

Uploads that were begun and never completed are not listed here: a lifecycle rule of the bucket removes them
(AbortIncompleteMultipartUpload).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from corpus.store.cloud import CloudStorage, Names


class GoogleStorage(CloudStorage):
    """A prefix in a bucket of Google Cloud Storage."""

    scheme = "gs"
    names = Names(
        "GOOGLE_APPLICATION_CREDENTIALS, or call gcloud auth application-default login",
        "STORAGE_EMULATOR_HOST",
    )

    @classmethod
    def reach(cls, bucket: str) -> tuple[Callable[..., Any], str]:
        from obstore.store import GCSStore

        options: dict[str, Any] = {}
        endpoint = "https://storage.googleapis.com"
        if emulator := os.environ.get("STORAGE_EMULATOR_HOST"):
            endpoint = emulator if "://" in emulator else f"http://{emulator}"
            nobody = {"client_email": "", "private_key": "", "private_key_id": "", "disable_oauth": True}
            options["service_account_key"] = json.dumps(nobody | {"gcs_base_url": endpoint})

        def make(client_options: Any, retry_config: Any) -> Any:
            return GCSStore(bucket, client_options=client_options, retry_config=retry_config, **options)

        return make, endpoint
