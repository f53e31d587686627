"""The rules on URLs: an address that each rule drops and one that it keeps, innocent words, and the naive twins."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from corpus.filters import urls, urlwords
from corpus.schema import Drop
from tests.oracles import urls_naive as naive
from tests.support.url_lists import CASES, block_lists, pages

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


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of tables for this module alone."""
    patch = pytest.MonkeyPatch()
    folder = tmp_path_factory.mktemp("cache")
    patch.setenv("XDG_CACHE_HOME", str(folder))
    yield folder
    patch.undo()


@pytest.fixture
def lists(tmp_path: Path) -> urls.Config:
    return block_lists(tmp_path)


def rules(batch: pa.RecordBatch, config: urls.Config) -> dict[str, str]:
    """The rule of each URL that is dropped."""
    return {row["url"]: row["rule"] for row in urls.process(batch, config).dropped.to_pylist()}


def judge_words(address: str, config: urls.Config) -> Drop | None:
    return urls.judge_words(address, urls.read_lists(config), config)


@pytest.mark.parametrize(("rule", "dropped", "value", "limit", "kept"), CASES)
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
    assert judge_words(address, urls.Config()) is None


def test_real_pages_pass(testdata: Path) -> None:
    import json

    lines = (testdata / "warc/pages.jsonl").read_text(encoding="utf-8").splitlines()
    addresses = [json.loads(line)["uri"] for line in lines]
    assert rules(pages(addresses), urls.Config()) == {}


@pytest.mark.parametrize(
    "address", ["", None, "example.org", "http://", "http:///a", "http://[::1", "mailto:a@b.c", "//a.b/c", "http://."]
)
def test_what_is_no_web_address_is_invalid(address: str | None) -> None:
    outcome = urls.process(pages([address]), urls.Config())
    assert outcome.dropped.column("rule").to_pylist() == ["urls.invalid"]


def test_an_ip_address_is_a_host(lists: urls.Config) -> None:
    free = ["http://192.0.2.7/a", "http://[2001:db8::2]:8080/", "http://1.192.0.2.1/"]
    blocked = ["http://192.0.2.1:8080/a", "http://[2001:DB8::0:1]/"]
    assert rules(pages(free + blocked), lists) == dict.fromkeys(blocked, "urls.domain")


def test_domains_below_a_listed_one_are_listed(lists: urls.Config) -> None:
    blocked = [
        "http://a.b.bad.example/",
        "https://dots.example",
        "https://other.example:81",
        "https://me:secret@other.example/",
        "https://oth%65r.example/",
        "https://bücher.example/x",
    ]
    blocked.append("https://xn--bcher-kva.example/")
    free = ["http://bad.example.org", "http://example", "http://her.example", "http://bad-example"]
    free += ["http://bad.example@example.org/", "http://example.org/bad.example"]
    assert rules(pages(blocked + free), lists) == dict.fromkeys(blocked, "urls.domain")


def test_urls_match_without_scheme_port_fragment_and_last_slash(lists: urls.Config) -> None:
    blocked = ["http://example.org/plain", "https://example.org:443/plain//#x", "http://EXAMPLE.org:80/plain/"]
    blocked += ["http://www.example.org/plain", "http://WWW.example.org:0080/plain?#"]
    free = [
        "http://example.org/plain/er",
        "http://example.org:8080/plain",
        "http://example.org/plain?x",
        "http://example.org/",
        "http://www2.example.org/plain",
    ]
    assert rules(pages(blocked + free), lists) == dict.fromkeys(blocked, "urls.url")


def test_what_is_allowed_passes_whatever_else_lists_it(lists: urls.Config) -> None:
    kept = [
        "https://www.museum.example/porn-casino-poker",
        "https://x.museum.bad.example/",
        "http://example.org/porn-history/",
    ]
    assert rules(pages([*kept, "https://museum.bad.example2/porn", "http://x.bad.example"]), lists) == {
        "https://museum.bad.example2/porn": "urls.hard_word",
        "http://x.bad.example": "urls.domain",
    }


def test_a_public_suffix_is_listed_by_itself_unless_it_is_starred(tmp_path: Path) -> None:
    (tmp_path / "plain.txt").write_text("github.io\nco.uk\nbad.co.uk\nexample\nfoo.ck\nwww.ck\n")
    (tmp_path / "star.txt").write_text("*.github.io\n")
    plain, star = (
        urls.Config(blocklist=(str(tmp_path / "plain.txt"),)),
        urls.Config(blocklist=(str(tmp_path / "star.txt"),)),
    )
    blocked = ["http://github.io/", "http://co.uk", "http://a.bad.co.uk/", "http://example/", "http://a.www.ck/"]
    free = ["http://me.github.io/", "http://good.co.uk/", "http://any.example/", "http://a.foo.ck/"]
    assert rules(pages(blocked + free), plain) == dict.fromkeys(blocked, "urls.domain")
    assert list(rules(pages(blocked + free), star)) == ["http://github.io/", "http://me.github.io/"]


def test_word_lists_can_be_replaced_and_emptied(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("Cheese  # dairy\n")
    (tmp_path / "none.txt").write_text("# nothing\n")
    mine, none = str(tmp_path / "mine.txt"), str(tmp_path / "none.txt")
    config = urls.Config(hard_words=mine, soft_words=none, subwords=none)
    assert judge_words("http://a.example/CHEESE", config) == Drop("urls.hard_word", "cheese", "mine.txt")
    assert judge_words("http://a.example/porn-casino-poker-xnxx", config) is None
    config = urls.Config(soft_words=mine, soft_word_limit=1)
    assert judge_words("http://a.example/cheese", config) == Drop("urls.soft_words", "cheese", 1)


def test_words_of_any_script(tmp_path: Path) -> None:
    (tmp_path / "hard.txt").write_text("порно\n", encoding="utf-8")
    (tmp_path / "parts.txt").write_text("gratis sex\n色情\n", encoding="utf-8")
    config = urls.Config(hard_words=str(tmp_path / "hard.txt"), subwords=str(tmp_path / "parts.txt"))
    blocked = {
        "http://a.example/%D0%9F%D0%9E%D0%A0%D0%9D%D0%9E-x": "urls.hard_word",
        "http://a.example/ПОРНО": "urls.hard_word",
        "http://a.example/看色情片": "urls.subword",
        "http://a.example/Gratis_SEX": "urls.subword",
    }
    assert rules(pages([*blocked, "http://a.example/порномания", "http://a.example/caf%C3%A9"]), config) == blocked


def test_a_hard_word_is_one_word(tmp_path: Path) -> None:
    (tmp_path / "hard.txt").write_text("fine\ntwo words\n")
    with pytest.raises(
        ValueError, match=r"hard\.txt: 'two words' is several words; put parts of URLs into the subwords"
    ):
        urls.process(pages([]), urls.Config(hard_words=str(tmp_path / "hard.txt")))


@pytest.mark.parametrize("field", ["blocklist", "allowlist"])
def test_a_missing_list_is_named(field: str) -> None:
    with pytest.raises(OSError, match=r"list nowhere\.txt: No such file.*one entry per line"):
        urls.process(pages(["http://a.example"]), urls.Config(**{field: ("nowhere.txt",)}))


def test_a_missing_word_list_is_named() -> None:
    with pytest.raises(OSError, match=r"word list nowhere\.txt: No such file"):
        urls.process(pages(["http://a.example"]), urls.Config(hard_words="nowhere.txt"))


def test_nulls_slices_and_damaged_text(lists: urls.Config) -> None:
    batch = pages(["http://x.bad.example", None, "http://ok.example", "http://y.bad.example"])
    assert rules(batch.slice(1, 3), lists) == {None: "urls.invalid", "http://y.bad.example": "urls.domain"}
    assert urls.process(batch.slice(2, 0), lists).kept.num_rows == 0
    bytes_ = pa.array([b"http://ok.example/\xff\xfe", b"http://x\xff.bad.example/", b"\xff"], pa.binary())
    damaged = pa.Array.from_buffers(pa.string(), 3, bytes_.buffers())
    broken = pages(["a", "b", "c"]).set_column(1, "url", damaged)
    outcome = urls.process(broken, lists)
    assert outcome.dropped.column("rule").to_pylist() == ["urls.domain", "urls.invalid"]
    wide = pages(["http://x.bad.example"]).set_column(1, "url", pa.array(["http://x.bad.example"], pa.large_string()))
    assert urls.process(wide, lists).dropped.num_rows == 1


labels = st.sampled_from(["a", "b", "ab", "com", "x-y", "www", "WWW", "uk", "co", "github", "io", "bücher", "1", "x_"])
hosts = st.one_of(
    st.lists(labels, min_size=1, max_size=4).map(".".join),
    st.sampled_from(
        ["1.2.3.4", "[::1]", "[2001:db8::1]", "a.com.", "a..com", ".a.com", "%61.com", "KA.com", "", "256.1"]
    ),
)
words = st.sampled_from(
    [
        *(
            "porn",
            "PORN",
            "free",
            "Casino",
            "poker",
            "20",
            "%20",
            "%2",
            "%",
            "%70orn",
            "%C3%A9",
            "é",
            "\u212a",
            "–",
            "_",
        ),
        *("-", "/", "//", ".", "?", "#", "&", "=", "a", "K", "ab", "%FF", "%%41", " ", "\t", "\\", "@", ":", "x%2Fy"),
        *("色情", "\u0130", "\x7f", "\x00"),
    ]
)
tails = st.lists(words, max_size=6).map("".join)
ports = st.sampled_from(["", "", "", ":80", ":443", ":8080", ":080", ":", ":99999", ":x", ":1234567"])
users = st.sampled_from(["", "", "", "me@", "me:it@", "a.com@"])
schemes = st.sampled_from(
    ["http://", "https://", "HTTP://", "hTTps://", "ftp://", "", "//", "http:/", "httpx://", " http://"]
)
addresses = st.one_of(
    st.builds("{}{}{}{}{}".format, schemes, users, hosts, ports, st.one_of(st.just(""), tails.map("/".__add__), tails)),
    st.text(max_size=20),
)
stars = st.sampled_from(["", "", "*.", ".", "*.*."])
entries = st.one_of(
    st.builds("{}{}".format, stars, hosts),
    st.builds("{}{}{}/{}".format, st.sampled_from(["", "http://", "HTTPS://", "ftp://", "*."]), hosts, ports, tails),
    st.sampled_from(
        ["0.0.0.0 a.com", "127.0.0.1\tb.com # x", "two words", "#", " a.com ", "co.uk#x", "*.", "*", "http://"]
    ),
)
texts = st.characters(codec="utf-8", exclude_characters="\n\r")
_HARD, _SOFT, _PARTS = {"porn", "ab", "色情"}, {"casino", "poker", "free", "a"}, {"freeporn", "casinop", "nca", "éa"}


def _without_line_ends(lines: list[str]) -> list[str]:
    """The entries without a line end, so that a file has one on each line."""
    return [line for line in lines if not set(line) & set("\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029")]


@given(
    st.lists(st.one_of(entries, st.text(texts, max_size=8)), max_size=8),
    st.lists(entries, max_size=2),
    st.lists(addresses, max_size=12),
    st.booleans(),
)
@example(["www.a.com/", "a.com"], [], ["http://www.a.com", "http://www.a.com:80/?", "http://a.com/#"], False)
@example(["*.github.io", "github.io"], [], ["http://x.github.io/a?b#c"], True)
def test_verdicts_equal_their_twins(
    tmp_path_factory: pytest.TempPathFactory, blocked: list[str], allowed: list[str], asked: list[str], foreign: bool
) -> None:
    folder = tmp_path_factory.mktemp("lists")
    good = [f"good{n}.example" for n in range(len(blocked) + len(allowed))]  # most lines must be entries
    blocked, allowed = _without_line_ends(blocked) + good, _without_line_ends(allowed) + ["good.example"] * len(allowed)
    (folder / "blocked").write_text("\n".join(blocked), encoding="utf-8")
    (folder / "allowed").write_text("\n".join(allowed), encoding="utf-8")
    lists = [{word for word in chosen if foreign or word.isascii()} for chosen in (_HARD, _SOFT, _PARTS)]
    for name, chosen in zip(("hard", "soft", "parts"), lists, strict=True):
        (folder / name).write_text("\n".join(chosen), encoding="utf-8")
    config = urls.Config(
        blocklist=(str(folder / "blocked"),),
        allowlist=(str(folder / "allowed"),),
        hard_words=str(folder / "hard"),
        soft_words=str(folder / "soft"),
        subwords=str(folder / "parts"),
    )
    dropped = urls.process(pages(list(asked)), config).dropped
    ours = dict(
        zip(
            dropped.column("id").to_pylist(),
            zip(*map(pa.Array.to_pylist, dropped.columns[1:5]), strict=True),
            strict=True,
        )
    )
    block, allow = naive.read(blocked), naive.read(allowed)
    for row, url in enumerate(asked):
        expected = naive.verdict(url, block, allow, (lists[0], lists[1], lists[2]), 2)
        drop = ours.get(f"<urn:uuid:{row}>")
        assert (drop and (drop[2], drop[3])) == (expected and (f"urls.{expected[0]}", expected[1])), url


@given(st.lists(entries, min_size=1, max_size=6), entries, st.lists(addresses, max_size=8))
def test_one_more_entry_lets_nothing_pass(
    tmp_path_factory: pytest.TempPathFactory, listed: list[str], more: str, asked: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("lists")
    listed = _without_line_ends(listed)
    good = ["good.example"] * (len(listed) + 1)
    (folder / "few").write_text("\n".join(good + listed), encoding="utf-8")
    (folder / "more").write_text("\n".join(good + listed + _without_line_ends([more])), encoding="utf-8")
    few, all_ = (rules(pages(list(asked)), urls.Config(blocklist=(str(folder / name),))) for name in ("few", "more"))
    assert few.keys() <= all_.keys()


@given(
    st.text(st.characters(), max_size=30), st.sampled_from(["", "http://", "http://a.com/", "https://[", "http://%"])
)
def test_no_text_makes_a_rule_raise(tmp_path_factory: pytest.TempPathFactory, text: str, before: str) -> None:
    """Also lone surrogates, which Arrow does not have."""
    path = tmp_path_factory.mktemp("lists") / "expressions"
    path.write_text("^x$")
    config = urls.Config(blocklist=(str(path),))
    lists = urls.read_lists(config)
    drop = urls.judge(before + text, lists, config)
    assert drop is None or drop.rule in {f"urls.{rule.name}" for rule in urls.STAGE.rules}


@given(st.lists(st.text("abc", min_size=1, max_size=5), max_size=6), st.text("abc-", max_size=20))
def test_the_automaton_finds_what_is_there(parts: list[str], text: str) -> None:
    table = urlwords.tables(frozenset(), frozenset(), frozenset(parts)).parts
    state, symbols = 0, urlwords.symbols()
    for character in text.replace("-", ""):
        state = int(table[state, symbols[ord(character)]])
        if state == urlwords._FOUND:
            break
    joined = text.replace("-", "")
    assert (state == urlwords._FOUND) == any(part in joined for part in parts)
    part = urlwords.first_part(frozenset(parts), joined)
    assert (part is not None) == any(part in joined for part in parts)
