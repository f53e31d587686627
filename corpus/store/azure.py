"""`az://container/prefix`: Azure Blob Storage; also `abfs://container/prefix`, or `container@account` in either.

The account and its credentials come from the environment: AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_ACCOUNT_KEY or
AZURE_STORAGE_SAS_TOKEN, a service principal (AZURE_CLIENT_ID, AZURE_CLIENT_SECRET, AZURE_TENANT_ID), the machine's
identity, or with AZURE_USE_AZURE_CLI=true what `az login` left. AZURE_STORAGE_ENDPOINT names another server.

Azure removes the parts of an upload that was never completed after a week, so none are listed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from corpus.store.cloud import CloudStorage, Names


class AzureStorage(CloudStorage):
    """A prefix in a container of Azure Blob Storage."""

    scheme = "az"
    names = Names(
        "AZURE_STORAGE_ACCOUNT_NAME, and AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN",
        "AZURE_STORAGE_ENDPOINT",
    )

    @classmethod
    def reach(cls, bucket: str) -> tuple[Callable[..., Any], str]:
        from obstore.store import AzureStore

        container, _, host = bucket.partition("@")
        account = host.partition(".")[0] or os.environ.get("AZURE_STORAGE_ACCOUNT_NAME", "")
        endpoint = os.environ.get("AZURE_STORAGE_ENDPOINT", "")
        options: dict[str, Any] = {"account_name": account} if account else {}
        if endpoint:
            options["endpoint"] = endpoint

        def make(client_options: Any, retry_config: Any) -> Any:
            return AzureStore(container, client_options=client_options, retry_config=retry_config, **options)

        return make, endpoint or f"https://{account}.blob.core.windows.net"
