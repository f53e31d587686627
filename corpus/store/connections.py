"""Pools of connections: one for direct requests, and one for each proxy that the environment names.

In: a URL. Out: the pool of urllib3 through which a request for it goes. `HTTP_PROXY`, `HTTPS_PROXY` and `ALL_PROXY`
name proxies, and `NO_PROXY` the hosts that are asked directly; `urllib.request` reads them. Also here: which failures
of a request may pass, and how they are said.
"""

from __future__ import annotations

import email.utils
import re
import threading
import time
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3

from corpus.store.deadline import POOLS

TRY_AGAIN = (429, 500, 502, 503, 504)  # statuses after which another attempt may help


class Pools:
    """The pools of one client; `settings` are arguments of `urllib3.PoolManager`."""

    def __init__(self, **settings: Any) -> None:
        self._settings = settings
        self._pools: dict[str, urllib3.PoolManager] = {}
        self._lock = threading.Lock()

    def for_url(self, url: str) -> urllib3.PoolManager:
        """The pool for `url`. Raises ValueError for a URL that has no host and for a proxy that cannot be used."""
        proxy = _proxy(url)
        with self._lock:
            if proxy not in self._pools:
                pools = self._through(proxy) if proxy else urllib3.PoolManager(**self._settings)
                pools.pool_classes_by_scheme = POOLS
                self._pools[proxy] = pools
            return self._pools[proxy]

    def _through(self, proxy: str) -> urllib3.ProxyManager:
        parts = urlsplit(proxy)
        headers = None
        if parts.username is not None:
            headers = urllib3.make_headers(proxy_basic_auth=unquote(f"{parts.username}:{parts.password or ''}"))
        place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"  # a password is for no message
        try:
            return urllib3.ProxyManager(place, proxy_headers=headers, **self._settings)
        except urllib3.exceptions.HTTPError as error:
            raise ValueError(
                f"proxy {place}: cannot be used ({error}); set HTTP_PROXY and HTTPS_PROXY to http://HOST:PORT"
            ) from None


def _proxy(url: str) -> str:
    """The address of the proxy for `url`; "" if it is asked directly."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url}: should be an address http://HOST/ or https://HOST/")
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all", "")
    if not proxy or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


def retry_after(value: str) -> float:
    """Seconds that a Retry-After header asks for (a number or a date, RFC 9110 section 10.2.3); 0 without one."""
    if re.fullmatch("[0-9]{1,9}", value.strip()):
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return 0.0


def reason(error: Exception) -> str:
    """An error of urllib3, or an address that is none, in a few words of printable ASCII."""
    if isinstance(error, urllib3.exceptions.MaxRetryError) and error.reason is not None:
        error = error.reason
    return ascii(f"{type(error).__name__}: {error}"[:200])[1:-1]
