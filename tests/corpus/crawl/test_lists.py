"""A list at a web address: only a list reaches the cache, and no address keeps a command waiting."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from corpus.crawl.download import Limits
from corpus.crawl.lists import fetched
from tests.support.crawl_server import CrawlServer, Endless, Fault, Instead, NoLength, Redirect, Slow

LIST = b"bad.example\nworse.example\n"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/corpus/lists"


@pytest.mark.parametrize(
    ("name", "data", "fault"),
    [
        ("bad.txt", LIST, Instead(b"<html>Please log in</html>")),
        ("domains", LIST, Instead(b"<?xml version='1.0'?><Error/>", "application/xml")),
        ("bad.txt", LIST, Instead(b"")),
        ("bad.txt", LIST, NoLength(15)),
        ("bad.txt", LIST, NoLength(15, chunked=True)),
        ("bad.txt", LIST, Redirect("http://[")),
        ("bad.txt.gz", gzip.compress(LIST), NoLength(30)),
        ("bad.txt.gz", gzip.compress(LIST), Instead(gzip.compress(gzip.compress(LIST)))),
        ("bad.tgz", gzip.compress(LIST), Instead(b"<html>Please log in</html>")),
    ],
)
def test_what_is_no_list_is_asked_for_again(cache: Path, name: str, data: bytes, fault: Fault) -> None:
    with CrawlServer({name: data}) as server:
        server.fault(name, fault)
        assert fetched(server.base + name).read_bytes() == data
        assert len(server.requests) == 2
    assert [path.name for path in cache.glob("*/[!.]*")] == [name]


def test_lists_without_a_length_are_taken(cache: Path) -> None:
    with CrawlServer({"bad.txt": LIST, "bad.txt.gz": gzip.compress(LIST)}) as server:
        server.fault("bad.txt", NoLength(1000))
        server.fault("bad.txt.gz", NoLength(1000))
        for name in ("bad.txt", "bad.txt.gz"):
            assert fetched(server.base + name).is_file()
        assert len(server.requests) == 2


@pytest.mark.parametrize("name", ["bad.txt", "bad"])
def test_an_address_that_never_ends_is_refused_by_size(cache: Path, name: str) -> None:
    with CrawlServer({}) as server:
        server.fault(name, Endless())
        with pytest.raises(ValueError, match=r"has over 5 MiB; download it by hand and name the file$"):
            fetched(server.base + name, Limits(5 << 20))
        assert len(server.requests) == 1
    assert not list(cache.glob("*/[!.]*"))


def test_a_length_beyond_the_limit_is_refused_before_the_body(cache: Path) -> None:
    with CrawlServer({"bad.txt": LIST * 1000}) as server, pytest.raises(ValueError, match="has over 0 MiB"):
        fetched(server.base + "bad.txt", Limits(1000))
    assert not list(cache.glob("*/[!.]*"))


def test_an_address_that_never_ends_is_refused_by_time(cache: Path) -> None:
    with CrawlServer({"bad.txt": LIST * 1000}) as server:
        server.fault("bad.txt", Slow(10, 0.02))
        with pytest.raises(ValueError, match=r"is not whole after 0\.3 s; download it by hand and name the file$"):
            fetched(server.base + "bad.txt", Limits(1 << 20, 0.3))
