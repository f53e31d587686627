"""Lists of URLs in files, folders and archives; the table on disk; files that are refused."""

from __future__ import annotations

import gzip
import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from publicsuffixlist import PSLFILE, PublicSuffixList

from corpus.filters import blocklist
from corpus.filters.addresses import Page
from corpus.filters.kernels import addresses
from corpus.filters.listfiles import Piece, read_lists
from tests.oracles import urls_naive as naive

_labels = st.sampled_from(["a", "co", "uk", "github", "io", "WWW", "www", "bücher", "1", "x_y", "", "com", "ck"])
_rests = st.sampled_from(
    ["", "", "", ":80/", ":080/a", ":8080", ":", ":x", "/", "//", "/a//?", "/a/?b/#c", "?q", "#c", "/é"]
)
_before = st.sampled_from(
    ["", "", "", "*.", ".", "*.*.", "http://", "HTTPS://", "https://*.", "ftp://", "0.0.0.0 ", "x "]
)
entries = st.builds(
    "{}{}{}{}{}".format,
    st.sampled_from(["", "", " ", "\t"]),
    _before,
    st.one_of(
        st.lists(_labels, min_size=1, max_size=4).map(".".join), st.sampled_from(["1.2.3.4", "[::1]", "%61.com"])
    ),
    _rests,
    st.sampled_from(["", "", " ", "\r", " # why"]),
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/corpus/urls"


@pytest.fixture
def ut1(tmp_path: Path) -> Path:
    """A folder of categories as the University of Toulouse publishes it."""
    files = {
        "adult/domains": "bad.example\nboth.example\n",
        "adult/urls": "site.example/~bad\n",
        "adult/very_restrictive_expression": "(^|/)wet\n",
        "adult/usage": "black\n",
        "gambling/domains": "dice.example\nboth.example\n",
        "gambling/expressions": "(^|[-/])roulette\n",
        "gambling/usage": "black\nwhite\n",
        "press/domains": "news.example\n",
        "press/usage": "white\n",
    }
    folder = tmp_path / "blacklists"
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "porn").symlink_to("adult")
    return folder


def archive(folder: Path, target: Path) -> Path:
    with tarfile.open(target, "w:gz") as out:
        out.add(folder, folder.name)
    return target


def host(name: str, lists: blocklist.Blocklist) -> tuple[str, str] | None:
    return blocklist.find_host(name, lists)


@pytest.mark.parametrize("packed", [False, True])
def test_a_folder_of_categories_and_its_archive(ut1: Path, tmp_path: Path, packed: bool) -> None:
    path = archive(ut1, tmp_path / "blacklists.tar.gz") if packed else ut1
    lists = blocklist.load([str(path)])
    assert host("a.bad.example", lists) == ("bad.example", "adult")
    assert host("both.example", lists) == ("both.example", "adult")
    assert host("dice.example", lists) == ("dice.example", "gambling")
    assert host("news.example", lists) is None
    assert blocklist.find_page(Page("site.example", "/~bad"), lists) == "adult"
    assert lists.expressions == (("gambling", "(^|[-/])roulette"),)
    allowing = blocklist.load([str(path)], allowing=True)
    assert host("news.example", allowing) == ("news.example", "press")


def test_a_category_by_itself_is_read_whatever_its_usage_says(ut1: Path, tmp_path: Path) -> None:
    for path in (ut1 / "press", archive(ut1 / "press", tmp_path / "press.tar.gz")):
        assert host("news.example", blocklist.load([str(path)])) == ("news.example", "press")
    alone = blocklist.load([str(ut1 / "adult/very_restrictive_expression")])
    assert alone.expressions == (("very_restrictive_expression", "(^|/)wet"),)
    assert host("both.example", blocklist.load([str(ut1 / "gambling"), str(ut1 / "adult")])) == (
        "both.example",
        "gambling",
    )


def test_compressed_lists(tmp_path: Path) -> None:
    (tmp_path / "mine.txt.gz").write_bytes(gzip.compress(b"a.example\nb.example"))
    (tmp_path / "folder/ads").mkdir(parents=True)
    (tmp_path / "folder/ads/domains.gz").write_bytes(gzip.compress(b"c.example\n"))
    lists = blocklist.load([str(tmp_path / "mine.txt.gz"), str(tmp_path / "folder")])
    entries_of = [host(f"{name}.example", lists) for name in "abc"]
    assert entries_of == [("a.example", "mine.txt.gz"), ("b.example", "mine.txt.gz"), ("c.example", "ads")]


def test_a_hosts_file(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("127.0.0.1 localhost\n0.0.0.0 ads.example # one\n0.0.0.0\tspy.example\n")
    lists = blocklist.load([str(tmp_path / "hosts")])
    assert host("x.ads.example", lists) == ("ads.example", "hosts")
    assert host("spy.example", lists)
    assert host("0.0.0.0", lists) is None


def test_the_table_is_made_once_and_mapped_after(ut1: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = blocklist.load([str(ut1)])
    monkeypatch.setattr(blocklist, "_compiled", None)
    second = blocklist.load([str(ut1)])
    assert second.hashes.tolist() == first.hashes.tolist()
    assert not second.hashes.flags.writeable
    assert second.expressions == first.expressions
    for path in sorted(ut1.rglob("*")):  # new times and unchanged content, by which the table is known
        os.utime(path)
    assert host("bad.example", blocklist.load([str(ut1)])) == ("bad.example", "adult")
    assert len(list(cache.glob("*.table"))) == 1
    assert len(list(cache.glob("*.key"))) == 2


def test_a_list_that_changed_is_read_again(ut1: Path) -> None:
    assert host("bad.example", blocklist.load([str(ut1)]))
    (ut1 / "adult/domains").write_text("new.example\nboth.example\n")
    lists = blocklist.load([str(ut1)])
    assert host("bad.example", lists) is None
    assert host("new.example", lists)


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "gone"])
def test_a_damaged_table_is_made_again(ut1: Path, cache: Path, damage: str) -> None:
    blocklist.load([str(ut1)])
    (table,) = cache.glob("*.table")
    data = bytearray(table.read_bytes())
    data[-70] ^= 1
    table.write_bytes({"cut": data[: len(data) // 2], "flipped": data, "empty": b""}.get(damage, b""))
    if damage == "gone":
        table.unlink()
    lists = blocklist.load([str(ut1)])
    assert host("bad.example", lists) == ("bad.example", "adult")
    assert host("good.example", lists) is None
    assert table.read_bytes() != bytes(data)


def test_without_a_cache_each_process_makes_its_own_table(
    ut1: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert host("bad.example", blocklist.load([str(ut1)])) == ("bad.example", "adult")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("page.html", b"<!DOCTYPE html>\n<p>Not found, sorry\n", "page.html: '<!DOCTYPE html>' is no host and no URL"),
        ("cut.gz", gzip.compress(b"a.example\n" * 1000, mtime=0)[:-20], "cut.gz: is damaged"),
        ("long.txt", b"a" * (1 << 23), "long.txt: has a line of over 65,536 bytes"),
        ("my_expressions", b"fine\n(open\n", "my_expressions: '(open' is no regular expression of Python's (missing"),
        ("my_expressions", b"[[:alpha:]]\n", "is no regular expression of Python's (Possible nested set"),
    ],
)
def test_a_file_that_is_no_list_is_refused_in_one_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match="list ") as raised:
        blocklist.load([str(tmp_path / name)])
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_folders_and_archives_without_lists_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "README").write_text("nothing here")
    with pytest.raises(ValueError, match="a folder without lists; they are called domains or urls"):
        blocklist.load([str(folder)])
    with pytest.raises(ValueError, match="an archive without lists; they are called domains or urls"):
        blocklist.load([str(archive(folder, tmp_path / "a.tar.gz"))])


def test_a_few_odd_lines_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(b"a.example\n\xff\xfe ??\nb.example\n\n  \n*.\nc.example\nhttp://\n")
    lists = blocklist.load([str(tmp_path / "list")])
    assert len(lists.hashes) == 3


def test_a_list_longer_than_a_block(tmp_path: Path) -> None:
    listed = [f"host-{number}.example" for number in range(300_000)]
    path = tmp_path / "many.txt"
    path.write_text("\n".join(listed))
    assert len(list(read_lists(str(path)))) > 1
    lists = blocklist.load([str(path)])
    assert len(lists.hashes) == len(listed)
    assert all(host(name, lists) for name in listed[::1000])
    assert not any(host(f"x{name}", lists) for name in listed[::1000])


@given(st.binary(max_size=40))
def test_hash_equals_its_twin(data: bytes) -> None:
    assert int(addresses.hash_bytes(data)) == naive.hash_bytes(data)


@given(st.lists(entries, max_size=6))
def test_lines_are_read_as_their_twin_reads_them(lines: list[str]) -> None:
    data = "".join(f"{line}\n" for line in lines).encode()
    hashes, labels, _ = blocklist._entries(Piece("c", "c", data, False), 5)
    expected = naive.read(lines)
    named = {(naive.hash_bytes(host.encode()[::-1]), 5 << 2 | addresses.EXACT) for host in expected.exact}
    named |= {(naive.hash_bytes(host.encode()[::-1]), 5 << 2 | addresses.BELOW) for host in expected.below}
    named |= {
        (naive.hash_bytes(page[0].encode()[::-1] + page[1].encode()), 5 << 2 | addresses.PAGE)
        for page in expected.pages
        if page
    }
    assert set(zip(hashes.tolist(), labels.tolist(), strict=True)) == named


def test_public_suffixes_are_those_of_the_package() -> None:
    package = PublicSuffixList()
    with open(PSLFILE, encoding="utf-8") as file:
        rules = [line.split()[0].lstrip("!") for line in file if line.strip() and not line.startswith("//")]
    for rule in rules[::7] + [rule for rule in rules if "*" in rule] + ["com", "unknown-tld", "www.ck", "city.kobe.jp"]:
        base = rule.removeprefix("*.").encode("idna").decode()
        for name in (base, f"x.{base}", f"x.y.{base}", base.partition(".")[2] or "com"):
            assert blocklist.is_public_suffix(name) == (package.publicsuffix(name) == name), name


def test_lists_with_the_same_hash_but_another_kind_both_count(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("github.io\n")
    (tmp_path / "b").write_text("*.github.io\n")
    lists = blocklist.load([str(tmp_path / "a"), str(tmp_path / "b")])
    assert host("github.io", lists) == ("github.io", "a")
    assert host("me.github.io", lists) == ("github.io", "b")
