"""`HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`: which server a request is sent to."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from corpus.crawl.download import FetchError
from corpus.crawl.fetch import FetchConfig, fetch
from tests.support.crawl_server import CrawlServer, Redirect
from tests.support.crawls import CRAWL, ONE, assert_whole, run

NAMES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def fetch_through(output: Path, base: str, **settings: object) -> None:
    fetch(CRAWL, output, FetchConfig(base=base, backoff=0.001, retries=1, timeout=5.0, **settings))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("scheme", ["http://", ""])
def test_a_proxy_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, scheme: str) -> None:
    with CrawlServer(ONE) as proxy:
        monkeypatch.setenv(name, scheme + proxy.base.removeprefix("http://"))
        fetch_through(tmp_path, "http://mirror.test/")
        assert {request.through for request in proxy.requests} == {"mirror.test"}
    assert_whole(tmp_path)


def test_a_password_reaches_the_proxy_and_no_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with CrawlServer(ONE) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.base.replace("http://", "http://me:s%40cret@"))
        fetch_through(tmp_path, "http://mirror.test/")
        expected = "Basic " + base64.b64encode(b"me:s@cret").decode()
        assert {request.headers["proxy-authorization"] for request in proxy.requests} == {expected}
    monkeypatch.setenv("HTTP_PROXY", "socks5://me:s%40cret@127.0.0.1:1")
    with pytest.raises(FetchError, match=r"proxy socks5://127\.0\.0\.1:1: cannot be used .* set HTTP_PROXY") as caught:
        fetch_through(tmp_path, "http://mirror.test/")
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize("hosts", ["127.0.0.1", "*", "other.test, 127.0.0.1"])
def test_hosts_of_no_proxy_are_asked_directly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hosts: str) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", hosts)
    with CrawlServer(ONE) as server:
        run(server, tmp_path)
        assert {request.through for request in server.requests} == {""}
    assert_whole(tmp_path)


def test_https_goes_through_a_tunnel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with CrawlServer(ONE) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.base)
        with pytest.raises(FetchError, match="502"):
            fetch_through(tmp_path, "https://mirror.test/")
        assert {(request.method, request.path) for request in proxy.requests} == {("CONNECT", "mirror.test:443")}


def test_a_redirect_is_asked_through_the_proxy_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with CrawlServer(ONE) as proxy, CrawlServer(ONE) as server:
        monkeypatch.setenv("HTTP_PROXY", proxy.base)
        proxy.fault("warc.gz", Redirect(f"{server.base}{list(ONE)[1]}"))
        fetch_through(tmp_path, "http://mirror.test/")
        assert [request.path for request in server.requests] == [list(ONE)[1]]
    assert_whole(tmp_path)


@pytest.mark.parametrize("base", ["mirror.test", "ftp://mirror.test/", "http://", "http://["])
def test_a_base_that_is_no_address_is_named_at_once(tmp_path: Path, base: str) -> None:
    with pytest.raises(FetchError, match=r"should be an address|Invalid IPv6 URL"):
        fetch(CRAWL, tmp_path, FetchConfig(base=base))
