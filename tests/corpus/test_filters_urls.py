"""URL rules: one dropped and one kept address each, innocent words, and block lists beside plain sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.filters import blocklist, urls
from corpus.schema import Drop
from tests.oracles import filters_naive as naive

_INNOCENT = """
https://www.essex.ac.uk/sussex-and-middlesex/history
http://www.scunthorpe-united.co.uk/penistone-line
https://example.org/data-analysis/canal-banal-analog
https://example.org/export-news/corp-ornaments
https://olives-export.com/essex-video/essex-camera/essex-chat
https://www.ville-pornic.fr/office-de-tourisme-pornichet
https://example.org/dickens-cockpit-peacock-cocktail-hancock
https://example.org/cumulative-document-circumstances-magna-cum-laude
https://example.org/health/breast-cancer-screening
https://example.org/sex-education-in-schools
https://example.org/news/2020/casino-royale-film
https://example.org/assassin-class-pass-grass-massage-bass
https://example.org/therapist-grape-drape-rapeseed-oil
https://expertsexchange.example.org/titan-title-constitution
https://example.org/button-buttercup-shiitake-matsushita
https://www.penisland-not.example.org/whose-wives
https://example.org/mature-cheddar
https://example.org/adult-learning-centre
https://example.org/poker-faced-politician
https://example.org/teenage-engineering/slot-machine-learning
https://gay-pride.example.org/
https://example.org/girls-who-code
https://example.org/alphabet-betty-bethlehem
https://example.org/lesbian-gay-bisexual-teen-support
https://example.org/teen-girls-who-code
https://example.org/adult-amateur-orchestra
https://example.org/ski-webcams/cam/mountain-cam
https://example.org/biology/penis-and-vagina
https://example.org/moro-islamic-liberation-front-milf-peace
"""

# rule, dropped, value, threshold, kept
CASES = [
    ("invalid", "ftp://example.org/a", "ftp://example.org/a", "http or https, and a host", "http://example.org/a"),
    ("domain", "https://www.Bad.example./x", "bad.example", "domains.txt", "https://notbad.example/x"),
    ("url", "http://example.org/Page/?a=1#top", "example.org/Page?a=1", "urls.txt", "http://example.org/page?a=1"),
    ("hard_word", "https://example.org/free/PornHub_videos", "pornhub", "hard words", "https://example.org/horn_hub"),
    ("soft_words", "https://example.org/Casino/x-POKER", "casino poker", 2, "https://example.org/casino/casino-x"),
    ("subword", "https://myfree-porntubes.example", "freeporn", "subwords", "https://myfree-portubes.example"),
]


def pages(addresses: list[str | None]) -> pa.RecordBatch:
    ids = [f"<urn:uuid:{row}>" for row in range(len(addresses))]
    return pa.record_batch(
        {"id": pa.array(ids, pa.string()), "url": pa.array(addresses, pa.string())}
        | {"file_path": pa.nulls(len(ids), pa.string()), "warc_offset": pa.nulls(len(ids), pa.int64())}
    )


@pytest.fixture
def lists(tmp_path: Path) -> urls.Config:
    (tmp_path / "domains.txt").write_text(
        "# blocked\nother.example\n*.BAD.example # why\r\n\n.dots.example\nbücher.example"
    )
    (tmp_path / "urls.txt").write_text("# blocked\nhttps://EXAMPLE.org/Page?a=1\n\nexample.org/plain/\nhttp://[bad\n")
    (tmp_path / "allowed.txt").write_text("museum.example\n")
    return urls.Config(
        block_domains=(str(tmp_path / "domains.txt"),),
        block_urls=(str(tmp_path / "urls.txt"),),
        allow_domains=(str(tmp_path / "allowed.txt"),),
    )


def rules(batch: pa.RecordBatch, config: urls.Config) -> dict[str, str]:
    """URL -> rule of those dropped."""
    return {row["url"]: row["rule"] for row in urls.process(batch, config).dropped.to_pylist()}


@pytest.mark.parametrize(("rule", "dropped", "value", "limit", "kept"), CASES, ids=[case[0] for case in CASES])
def test_each_rule_drops_and_keeps(
    lists: urls.Config, rule: str, dropped: str, value: str, limit: str | int, kept: str
) -> None:
    outcome = urls.process(pages([kept, dropped]), lists)
    (row,) = outcome.dropped.to_pylist()
    assert (row["url"], row["stage"], row["rule"]) == (dropped, "urls", f"urls.{rule}")
    assert (row["value"], row["threshold"]) == (value, str(limit))
    assert outcome.kept.column("url").to_pylist() == [kept]


@pytest.mark.parametrize("address", _INNOCENT.split())
def test_innocent_words_pass(address: str) -> None:
    assert urls.judge_words(address, urls.Config()) is None


def test_real_pages_pass(testdata: Path) -> None:
    import json

    lines = (testdata / "warc/pages.jsonl").read_text(encoding="utf-8").splitlines()
    addresses = [json.loads(line)["uri"] for line in lines]
    assert rules(pages(addresses), urls.Config()) == {}


@pytest.mark.parametrize(
    "address", ["", None, "example.org", "http://", "http:///a", "http://[::1", "mailto:a@b.c", "//a.b/c"]
)
def test_what_is_no_web_address_is_invalid(address: str | None) -> None:
    outcome = urls.process(pages([address]), urls.Config())
    assert outcome.dropped.column("rule").to_pylist() == ["urls.invalid"]


def test_an_ip_address_is_a_host() -> None:
    assert rules(pages(["http://192.0.2.7/a", "http://[2001:db8::1]:8080/"]), urls.Config()) == {}


def test_domains_below_a_listed_one_are_listed(lists: urls.Config) -> None:
    blocked = [
        "http://a.b.bad.example/",
        "https://dots.example",
        "https://other.example:81",
        "https://bücher.example/x",
    ]
    blocked.append("https://xn--bcher-kva.example/")
    free = ["http://bad.example.org", "http://example", "http://her.example", "http://bad-example"]
    assert rules(pages(blocked + free), lists) == dict.fromkeys(blocked, "urls.domain")


def test_urls_match_without_scheme_port_fragment_and_last_slash(lists: urls.Config) -> None:
    blocked = ["http://example.org/plain", "https://example.org:443/plain//#x", "http://EXAMPLE.org:80/plain/"]
    free = [
        "http://example.org/plain/er",
        "http://example.org:8080/plain",
        "http://example.org/plain?x",
        "http://example.org/",
    ]
    assert rules(pages(blocked + free), lists) == dict.fromkeys(blocked, "urls.url")


def test_allowed_domains_skip_word_rules_alone(lists: urls.Config) -> None:
    addresses = ["https://www.museum.example/porn-casino-poker", "https://museum.bad.example/"]
    assert rules(pages(addresses), lists) == {addresses[1]: "urls.domain"}


def test_word_lists_can_be_replaced_and_emptied(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("Cheese  # dairy\n")
    (tmp_path / "none.txt").write_text("# nothing\n")
    mine, none = str(tmp_path / "mine.txt"), str(tmp_path / "none.txt")
    config = urls.Config(hard_words=mine, soft_words=none, subwords=none)
    assert urls.judge_words("http://a.example/CHEESE", config) == Drop("urls.hard_word", "cheese", "mine.txt")
    assert urls.judge_words("http://a.example/porn-casino-poker-xnxx", config) is None
    config = urls.Config(soft_words=mine, soft_word_limit=1)
    assert urls.judge_words("http://a.example/cheese", config) == Drop("urls.soft_words", "cheese", 1)


@pytest.mark.parametrize("field", ["block_domains", "block_urls", "allow_domains"])
def test_a_missing_list_is_named(field: str) -> None:
    with pytest.raises(OSError, match=r"list nowhere\.txt: No such file.*one entry a line"):
        urls.process(pages(["http://a.example"]), urls.Config(**{field: ("nowhere.txt",)}))


def test_a_missing_word_list_is_named() -> None:
    with pytest.raises(OSError, match=r"word list nowhere\.txt: No such file"):
        urls.process(pages(["http://a.example"]), urls.Config(hard_words="nowhere.txt"))


def test_a_list_that_changed_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("a.example\n")
    config = urls.Config(block_domains=(str(path),))
    assert rules(pages(["http://a.example"]), config)
    path.write_text("b.example\nc.example\n")
    assert not rules(pages(["http://a.example"]), config)


labels = st.sampled_from(["a", "b", "ab", "com", "x-y"])
hosts = st.lists(labels, min_size=1, max_size=4).map(".".join)


@given(st.lists(hosts, max_size=8), st.lists(hosts, max_size=8))
def test_domain_look_up_equals_its_twin(
    tmp_path_factory: pytest.TempPathFactory, listed: list[str], asked: list[str]
) -> None:
    path = tmp_path_factory.mktemp("lists") / "domains.txt"
    path.write_text("\n".join(listed))
    batch = pages([f"http://{host}/" for host in asked])
    dropped = urls.process(batch, urls.Config(block_domains=(str(path),))).dropped
    expected = [(f"http://{host}/", naive.listed_domain(f"http://{host}/", set(listed))) for host in asked]
    ours = list(zip(dropped.column("url").to_pylist(), dropped.column("value").to_pylist(), strict=True))
    assert ours == [(url, domain) for url, domain in expected if domain is not None]


@given(st.lists(st.text(alphabet=st.characters(exclude_characters="\n"), max_size=30), max_size=10))
def test_hash_equals_its_twin(lines: list[str]) -> None:
    table = [int(value) for value in blocklist._TABLE]
    encoded = [line.encode("utf-8", "surrogatepass") for line in lines]
    expected = [naive.hash_line(line, table, blocklist._ODD) for line in encoded]
    assert blocklist.hash_lines(lines).tolist() == expected


def test_a_list_longer_than_a_block(tmp_path: Path) -> None:
    listed = [f"host-{number}.example" for number in range(150_000)]
    path = tmp_path / "many.txt"
    path.write_text("\n".join(listed))
    assert path.stat().st_size > 2 * blocklist._BLOCK
    hashes = blocklist.load_hosts(str(path))
    assert len(np.unique(hashes)) == len(listed)
    assert blocklist.contains(hashes, blocklist.hash_lines(listed)).all()
    assert not blocklist.contains(hashes, blocklist.hash_lines(f"x{host}" for host in listed)).any()
