"""The text of a page, whatever the page declares about its encoding."""

from __future__ import annotations

import codecs
import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from corpus.text import charset
from corpus.text.charset import decode_html
from corpus.warc.pages import Page, read_pages

GERMAN = "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich – „schön“. "
RUSSIAN = "Съешь же ещё этих мягких французских булок, да выпей чаю. "
CHINESE = "我能吞下玻璃而不伤身体。今天天气很好，我们去公园散步吧。"
JAPANESE = "いろはにほへと ちりぬるを。私はガラスを食べられます。それは私を傷つけません。"
KOREAN = "나는 유리를 먹을 수 있어요. 그래도 아프지 않아요. 모든 국민은 법 앞에 평등하다. "
GREEK = "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία. Μπορώ να φάω σπασμένα γυαλιά. "
POLISH = "Zażółć gęślą jaźń. Pchnąć w tę łódź jeża lub ośm skrzyń fig. "


def page(text: str, head: str = "") -> str:
    return f"<html><head>{head}</head><body><p>{text}</p></body></html>"


@given(st.binary(max_size=500), st.none() | st.text(max_size=20) | st.sampled_from(["utf-8", "gbk", "hz", "utf-16"]))
@example(b"\xff", "iso-2022-jp")
def test_never_raises(body: bytes, label: str | None) -> None:
    assert isinstance(decode_html(body, label), str)


@given(st.text(), st.sampled_from([None, "iso-8859-1", "windows-1251", "utf8", "koi8-r", "x-unknown-9"]))
def test_utf8_stays_utf8_whatever_is_declared(text: str, label: str | None) -> None:
    body = page(text, '<meta charset="windows-1252">').encode()
    assert decode_html(body, label) == body.decode()


@given(st.text(st.characters(codec="cp1251"), min_size=1))
def test_a_declared_encoding_is_used(text: str) -> None:
    body = page(text + RUSSIAN).encode("cp1251")
    assert decode_html(body, "Windows-1251") == body.decode("cp1251")


@pytest.mark.parametrize(
    ("text", "codec", "label"),
    [
        (GERMAN, "cp1252", "ISO-8859-1"),  # as browsers read latin-1
        (GERMAN, "cp1252", "us-ascii"),
        (RUSSIAN, "koi8_r", "KOI8-R"),
        (CHINESE, "gb18030", "gb2312"),
        (CHINESE, "gb18030", "x-gbk"),
        (JAPANESE, "cp932", "Shift_JIS"),
        (JAPANESE, "euc_jp", "euc-jp"),
        (JAPANESE, "iso2022_jp", "ISO-2022-JP"),
        (GREEK, "cp1253", "windows-1253"),
        (POLISH, "iso8859_2", "iso-8859-2"),
    ],
)
def test_header_and_meta_are_followed(text: str, codec: str, label: str) -> None:
    body = page(text).encode(codec)
    assert decode_html(body, label) == page(text)
    for meta in (
        f'<meta charset="{label}">',
        f"<META  http-equiv=content-type content='text/html; charset={label}' />",
        f"<!-- <meta charset=koi8-u> --><script>{'x' * 3000}</script><meta charset={label}>",
    ):
        assert decode_html(page(text, meta).encode(codec), None) == page(text, meta)
        assert decode_html(page(text, meta).encode(codec), "no-such-charset") == page(text, meta)
    xml = f'<?xml version="1.0" encoding="{label}"?>'
    assert decode_html((xml + page(text)).encode(codec), None) == xml + page(text)


def test_the_header_goes_before_the_page() -> None:
    text = page(RUSSIAN, '<meta charset="windows-1252">')
    assert decode_html(text.encode("cp1251"), "windows-1251") == text


def test_a_byte_order_mark_goes_before_everything() -> None:
    text = page(GERMAN, '<meta charset="gbk">')
    for mark, codec in ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        assert decode_html(mark + text.encode(codec), "windows-1251") == text
    assert decode_html(text.encode("utf-16-le"), None) == text
    assert decode_html(text.encode("utf-16-be"), "utf-8") == text


def test_a_wrong_utf8_declaration_is_not_believed() -> None:
    text = page(GERMAN * 5, '<meta charset="utf-8">').replace("<html>", '<html lang="de">')
    assert decode_html(text.encode("cp1252"), "UTF-8") == text


def test_a_few_bad_bytes_do_not_cost_a_utf8_page() -> None:
    body = page(GERMAN * 3).encode() + b"<p>caf\xe9 \x92</p>"
    for label in ("utf-8", None, "iso-8859-1"):
        assert decode_html(body, label) == body.decode("utf-8", "replace")


def test_a_page_cut_inside_a_character_is_utf8() -> None:
    body = (b"<p>only ascii before " + "€".encode())[:-1]
    assert decode_html(body, None) == "<p>only ascii before \ufffd"


def test_chinese_that_happens_to_be_utf8_is_read_as_declared() -> None:
    body = "<p>茅台</p>".encode("gbk")
    assert decode_html(body, None) == body.decode("utf-8") == "<p>é\u0328</p>"
    assert decode_html(body, "gbk") == "<p>茅台</p>"
    assert decode_html("<p>née</p>".encode(), "gbk") == "<p>n茅e</p>"  # declared, and as likely as not
    assert decode_html(page(CHINESE).encode(), "gbk") == page(CHINESE)


@pytest.mark.parametrize(
    ("text", "codec", "language"),
    [
        (RUSSIAN, "cp1251", ""),
        (RUSSIAN, "koi8_r", ""),
        (GREEK, "cp1253", ""),
        (CHINESE, "gb18030", ""),
        (JAPANESE, "cp932", ""),
        (JAPANESE, "euc_jp", ""),
        (KOREAN, "cp949", ""),
        (GERMAN, "cp1252", ""),
        (POLISH, "cp1250", "pl-PL"),
        ("Pijamalı hasta yağız şoföre çabucak güvendi. ", "cp1254", "tr"),
    ],
)
def test_undeclared_encodings_are_detected(text: str, codec: str, language: str) -> None:
    whole = f'<html lang="{language}">{page(text * 8)}'
    assert decode_html(whole.encode(codec), None) == whole
    assert decode_html(whole.encode(codec), None) == decode_html(whole.encode(codec), "")


@pytest.mark.parametrize(
    ("body", "label", "encoding"),
    [
        (page(GERMAN).encode(), "iso-8859-1", "utf-8"),
        (b"<p>plain</p>", "windows-1251", "utf-8"),
        (page(GERMAN).encode("cp1252"), "ISO-8859-1", "windows-1252"),
        (page(POLISH).encode("iso8859_2"), "latin2", "iso-8859-2"),
        (page(RUSSIAN).encode("koi8_r"), "koi8-r", "koi8-r"),
        (page(RUSSIAN).encode("cp866"), "866", "ibm866"),
        (page(CHINESE).encode("gb18030"), "gb2312", "gbk"),
        (page(CHINESE).encode("gb18030"), "GB18030", "gb18030"),
        (page(CHINESE, "<meta charset=x-gbk>").encode("gb18030"), None, "gbk"),
        (page(CHINESE).encode("gb18030") * 3, None, "gb18030"),
        (page(CHINESE).encode("hz"), "hz-gb-2312", "hz-gb-2312"),
        (page("中文").encode("big5"), "big5", "big5"),
        (page(JAPANESE).encode("cp932"), "sjis", "shift_jis"),
        (page(JAPANESE).encode("euc_jp"), "x-euc-jp", "euc-jp"),
        (page(JAPANESE).encode("iso2022_jp"), "iso-2022-jp", "iso-2022-jp"),
        (page(KOREAN).encode("cp949"), "euc-kr", "euc-kr"),
        (page(GREEK).encode("cp1253"), "windows-1253", "windows-1253"),
        (page("ไทย").encode("cp874"), "tis-620", "windows-874"),
        (page(RUSSIAN).encode("mac_cyrillic"), "x-mac-cyrillic", "x-mac-cyrillic"),
        (page(GERMAN.replace("„", "")).encode("mac_roman", "replace"), "macintosh", "macintosh"),
        (b"\xff\xfe" + page(GERMAN).encode("utf-16-le"), None, "utf-16le"),
        (page(GERMAN).encode("utf-16-be"), None, "utf-16be"),
        (b"\xef\xbb\xbf" + page(GERMAN).encode(), "gbk", "utf-8"),
    ],
)
def test_encodings_are_named_as_on_the_web(body: bytes, label: str | None, encoding: str) -> None:
    assert charset.decode(body, label) == (decode_html(body, label), encoding)


def test_every_codec_has_a_name_of_the_standard() -> None:
    names = {charset._decoded(b"", codec, []).encoding for codec in charset._LABELS}
    # The names of https://encoding.spec.whatwg.org/#names-and-labels, and hz-gb-2312.
    single = "ibm866 koi8-r koi8-u macintosh windows-874 x-mac-cyrillic"
    latin = {f"iso-8859-{part}" for part in (2, 3, 4, 5, 6, 7, 8, 10, 13, 14, 15, 16)}
    windows = {f"windows-{number}" for number in range(1250, 1259)}
    asian = "gb18030 big5 euc-jp iso-2022-jp shift_jis euc-kr hz-gb-2312"
    assert names == {"utf-8", "utf-16be", "utf-16le", *single.split(), *asian.split()} | latin | windows


def test_every_label_names_a_text_codec() -> None:
    for label, codec in charset._CODECS.items():
        assert codecs.lookup(codec)._is_text_encoding
        assert label.isalnum()
        assert label == label.lower()
    assert charset.codec_of(" UTF-8 ") == "utf_8"
    for label in ("rot13", "hex", "zlib", "unicode_escape", "idna", "", "\0"):
        assert charset.codec_of(label) is None
    assert set(charset._LATIN) | set(charset._DETECTABLE) <= set(charset._CODECS.values())


def test_real_pages(testdata: Path) -> None:
    facts = [json.loads(line) for line in (testdata / "warc/pages.jsonl").read_text().splitlines()]
    known = {fact["record_id"]: fact["charset"].replace("iso-8859-1", "windows-1252") for fact in facts}
    files = sorted((testdata / "warc").glob("DEV-*.warc.gz"))
    wrong, undeclared_wrong, total = 0, 0, 0
    for file in files:
        with file.open("rb") as stream:
            for item in read_pages(stream, file.name):
                assert isinstance(item, Page)
                expected = item.html.removeprefix(b"\xef\xbb\xbf").decode(known[item.id], "replace")
                total += 1
                # Three pages are labelled UTF-8 and are not: there the label's own text is full of U+FFFD.
                wrong += decode_html(item.html, item.charset) != expected and "\ufffd" not in expected
                undeclared_wrong += decode_html(item.html, None) != expected and "\ufffd" not in expected
    assert (total, wrong, undeclared_wrong) == (1033, 0, 0)


def test_edge_pages(testdata: Path) -> None:
    name = "edge-nonhtml-404-redirect-encodings"
    expected = json.loads((testdata / f"warc/edge/{name}.expected.json").read_text())
    names = {fact["record_id"]: fact["name"] for fact in expected["responses"] + expected["other"]}
    with (testdata / f"warc/edge/{name}.warc.gz").open("rb") as stream:
        pages = {names[item.id]: item for item in read_pages(stream, name) if isinstance(item, Page)}
    text = {name: decode_html(item.html, item.charset) for name, item in pages.items()}
    codec_by_name = {
        "latin1-header-only": "latin_1",
        "cp1252-meta-only": "cp1252",
        "cp1252-undeclared": "cp1252",
        "header-wrong": "utf_8",
        "meta-wrong": "utf_8",
        "utf16le-bom": "utf_16",
        "utf16be-bom": "utf_16",
        "utf8-bom": "utf_8_sig",
        "gb18030": "gb18030",
        "gbk-meta": "gbk",
        "nul-bytes": "utf_8",
        "ctype-unknown-charset": "utf_8",
        "ctype-utf8-typo": "utf_8",
    }
    for name, codec in codec_by_name.items():
        assert text[name] == pages[name].html.decode(codec), name
    assert text["utf8-cut"].count("\ufffd") == 1
