"""Lists of URLs on the command line: files, archives, web addresses; what is refused, and the rows in DROPPED."""

from __future__ import annotations

import gzip
import shutil
import tarfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from corpus.run.recipe import describe, load_recipe, make_step
from tests.support.command import answer, inside
from tests.support.crawl_server import Busy, CrawlServer


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/corpus"


@pytest.fixture
def crawl(testdata: Path) -> Path:
    return testdata / "warc/tiny/tiny-12-pages.warc.gz"


def dropped(output: Path) -> list[tuple[str, str, str, str]]:
    rows = pq.read_table(output / "dropped").to_pylist()
    return [(row["url"], row["rule"], row["value"], row["threshold"]) for row in rows if row["stage"] == "urls"]


def test_extract_with_lists_of_every_kind(crawl: Path, tmp_path: Path) -> None:
    inside("corpus", "extract", crawl, "-o", tmp_path / "all", "--language", "de")
    urls = sorted(
        {
            *pq.read_table(tmp_path / "all/data")["url"].to_pylist(),
            *pq.read_table(tmp_path / "all/dropped")["url"].to_pylist(),
        }
    )
    hosts = [url.split("/")[2] for url in urls]
    (tmp_path / "lists/adult").mkdir(parents=True)
    (tmp_path / "lists/adult/domains").write_text(f"{hosts[0]}\n{hosts[2]}\n")
    with tarfile.open(tmp_path / "lists.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "lists", "blacklists")
    (tmp_path / "mine.txt.gz").write_bytes(gzip.compress(f"{urls[1].partition('://')[2]}\n".encode()))
    (tmp_path / "good.txt").write_text(f"{hosts[2]}\n")
    flags = ["--blocklist", tmp_path / "lists.tar.gz", "--blocklist", tmp_path / "mine.txt.gz"]
    flags += ["--allowlist", tmp_path / "good.txt"]
    summary = answer("corpus", "extract", crawl, "-o", tmp_path / "out", "--language", "de", *flags)
    rows = dropped(tmp_path / "out")
    assert {row[1:] for row in rows if row[0] == urls[0]} == {("urls.domain", hosts[0], "adult")}
    assert [(row[1], row[3]) for row in rows if row[0] == urls[1]] == [("urls.url", "mine.txt.gz")]
    assert not [row for row in rows if row[0] == urls[2]]
    accounts = next(stage for stage in summary["passes"][0]["stages"] if stage["stage"] == "urls")
    assert accounts["read"] == 12 == accounts["kept"] + len(rows)
    inside("corpus", "verify", tmp_path / "out")


def test_a_list_at_a_web_address_is_fetched_once(crawl: Path, tmp_path: Path, cache: Path) -> None:
    with CrawlServer({"lists/bad.txt": b"bad.example\n"}) as server:
        server.fault("bad.txt", Busy())
        url = f"{server.base}lists/bad.txt"
        inside("corpus", "extract", crawl, "-o", tmp_path / "out", "--blocklist", url)
        assert [request.method for request in server.requests] == ["GET", "GET"]
        inside("corpus", "extract", crawl, "-o", tmp_path / "again", "--blocklist", url)
        assert len(server.requests) == 2
        (file,) = cache.glob("lists/*/bad.txt")
        assert file.read_bytes() == b"bad.example\n"
        recipe = tmp_path / "mine.toml"
        recipe.write_text(f"[urls]\nblocklist = ['{url}']\n")
        fetched = load_recipe(recipe).config("urls").blocklist
    assert fetched == (str(file),)
    shutil.copy(file, tmp_path / "copy.txt")  # what a run is known by is the content of the list
    described = [
        describe([make_step("urls", {"blocklist": [path]})]) for path in (str(file), str(tmp_path / "copy.txt"))
    ]
    assert described[0] == described[1]


def test_what_cannot_be_fetched_or_read_is_one_line(crawl: Path, tmp_path: Path) -> None:
    out = ["-o", str(tmp_path / "out")]
    with CrawlServer({}) as server:
        url = f"{server.base}none.txt"
        done = inside("corpus", "extract", crawl, *out, "--blocklist", url, code=2)
        assert done.stderr == (
            f"corpus: blocklist: {url}: HTTP status 404, no such file; download it by hand and name the file\n"
        )
    done = inside("corpus", "extract", crawl, *out, "--allowlist", "nowhere.txt", code=2)
    assert done.stderr == "corpus: allowlist = 'nowhere.txt': no such file\n"
    page = tmp_path / "page.html"
    page.write_text("<!DOCTYPE html>\n")
    done = inside("corpus", "extract", crawl, *out, "--blocklist", page, code=1)
    assert done.stderr == f"corpus: list {page}: '<!DOCTYPE html>' is no host and no URL; give one entry per line\n"
    assert not list((tmp_path / "out").glob("_units/*"))


def test_the_settings_follow_the_files_below_a_folder(tmp_path: Path) -> None:
    (tmp_path / "ut1/adult").mkdir(parents=True)
    listed = tmp_path / "ut1/adult/domains"
    listed.write_text("bad.example\n")
    first = describe([make_step("urls", {"blocklist": [str(tmp_path / "ut1")]})])
    listed.write_text("worse.example\n")
    assert describe([make_step("urls", {"blocklist": [str(tmp_path / "ut1")]})]) != first
    assert set(first["urls"]["resources"]) == {"words", "public_suffixes"}
