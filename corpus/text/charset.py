"""Bytes of an HTML page -> text.

In: the body as crawled and the charset that the HTTP header named. Out: the text, always, and the encoding that it
was read in, by the name that the WHATWG Encoding Standard gives it. The order is that of browsers (WHATWG HTML,
"determining the character encoding": byte order mark, HTTP header, `<meta>` in the head), with one exception on
purpose: bytes that are valid UTF-8 are UTF-8, whatever the page declares. Text in another encoding is valid UTF-8
only by rare accident, while wrong declarations (a server's default `ISO-8859-1` in front of a UTF-8 page) are
common. Such a page costs one decoding, and its declarations are not even looked for. Pages that declare nothing, or
something that their bytes contradict, are guessed from a bounded sample of their non-ASCII text, so that one page
costs milliseconds and always decodes the same.
"""

from __future__ import annotations

import re
from typing import NamedTuple

# Browsers look at 1,024 bytes first and go on through the head; scripts often stand before the `<meta>`.
_PRESCAN_BYTES = 16 * 1024
_CHANCE = 4  # continuation bytes that text in another encoding may have, and be valid UTF-8
_SAMPLE_BYTES = 8 * 1024  # for detection: 2.5 ms on one core, and more text changed no answer on real pages

_BOMS = ((b"\xef\xbb\xbf", "utf_8"), (b"\xff\xfe", "utf_16_le"), (b"\xfe\xff", "utf_16_be"))

# Python codec -> labels, lower case without punctuation (WHATWG Encoding Standard, "Names and labels"; as there,
# latin-1 means windows-1252, gb2312 means the superset gb18030, and so on). A closed list: codecs.lookup would
# also find `rot13` and import modules by the page's choice.
_LABELS = {
    "utf_8": "utf8 unicode11utf8 unicode20utf8 xunicode20utf8",
    "cp866": "866 cp866 csibm866 ibm866",
    "iso8859_2": "csisolatin2 iso88592 iso885921987 isoir101 l2 latin2",
    "iso8859_3": "csisolatin3 iso88593 iso885931988 isoir109 l3 latin3",
    "iso8859_4": "csisolatin4 iso88594 iso885941988 isoir110 l4 latin4",
    "iso8859_5": "csisolatincyrillic cyrillic iso88595 iso885951988 isoir144",
    "iso8859_6": "arabic asmo708 csisolatinarabic ecma114 iso88596 iso885961987 iso88596e iso88596i isoir127",
    "iso8859_7": "csisolatingreek ecma118 elot928 greek greek8 iso88597 iso885971987 isoir126 suneugreek",
    "iso8859_8": "csisolatinhebrew hebrew iso88598 iso885981988 iso88598e iso88598i isoir138 logical visual",
    "iso8859_10": "csisolatin6 iso885910 isoir157 l6 latin6",
    "iso8859_13": "iso885913",
    "iso8859_14": "iso885914",
    "iso8859_15": "csisolatin9 iso885915 l9 latin9",
    "iso8859_16": "iso885916",
    "koi8_r": "cskoi8r koi koi8 koi8r",
    "koi8_u": "koi8ru koi8u",
    "mac_roman": "csmacintosh mac macintosh xmacroman",
    "cp874": "dos874 iso885911 tis620 windows874 cp874",
    "cp1250": "cp1250 windows1250 xcp1250",
    "cp1251": "cp1251 windows1251 xcp1251",
    "cp1252": "ansix341968 ascii cp1252 cp819 csisolatin1 ibm819 iso88591 iso885911987 isoir100 l1 latin1 usascii"
    " windows1252 xcp1252 xuserdefined",
    "cp1253": "cp1253 windows1253 xcp1253",
    "cp1254": "cp1254 csisolatin5 iso88599 iso885991989 isoir148 l5 latin5 windows1254 xcp1254",
    "cp1255": "cp1255 windows1255 xcp1255",
    "cp1256": "cp1256 windows1256 xcp1256",
    "cp1257": "cp1257 windows1257 xcp1257",
    "cp1258": "cp1258 windows1258 xcp1258",
    "mac_cyrillic": "xmaccyrillic xmacukrainian",
    "gb18030": "chinese csgb2312 csiso58gb231280 gb2312 gb231280 gbk isoir58 xgbk gb18030 cp936",
    "hz": "hzgb2312",
    "big5hkscs": "big5 big5hkscs cnbig5 csbig5 xxbig5 cp950",
    "euc_jp": "cseucpkdfmtjapanese eucjp xeucjp",
    "iso2022_jp": "csiso2022jp iso2022jp",
    "cp932": "csshiftjis ms932 mskanji shiftjis sjis windows31j xsjis cp932",
    "cp949": "cseuckr csksc56011987 euckr isoir149 korean ksc56011987 ksc56011989 ksc5601 windows949 cp949 uhc",
    "utf_16_be": "unicodefffe utf16be",
    "utf_16_le": "csunicode iso10646ucs2 ucs2 unicode unicodefeff utf16 utf16le",
}
_CODECS = {label: codec for codec, labels in _LABELS.items() for label in labels.split()}

# Python codec -> the standard's name, where it is another. HZ has none: browsers refuse it, for reasons of security
# that text on its way to a corpus does not have.
_NAMES = {
    "cp866": "ibm866",
    "mac_roman": "macintosh",
    "mac_cyrillic": "x-mac-cyrillic",
    "hz": "hz-gb-2312",
    "big5hkscs": "big5",
    "cp932": "shift_jis",
    "cp949": "euc-kr",
    "utf_16_be": "utf-16be",
    "utf_16_le": "utf-16le",
}

# ASCII bytes that do not mean ASCII: valid UTF-8 proves nothing here.
_STATEFUL = {"iso2022_jp", "hz", "utf_16_le", "utf_16_be"}
_EAST_ASIAN = {"gb18030", "big5hkscs", "euc_jp", "cp932", "cp949"}

# Detection chooses among these, and between the Latin ones by the page's `lang`: on a few accented letters their
# scores tie. Windows code pages stand for their ISO relatives (WHATWG HTML's table of defaults by locale).
_LATIN = {
    "cp1250": "bs cs hr hu pl ro sk sl sq",
    "cp1254": "az ku tr",
    "cp1257": "et lt lv",
    "cp1258": "vi",
    "cp1252": "",
}
_BY_LANGUAGE = {language: codec for codec, languages in _LATIN.items() for language in languages.split()}
_DETECTABLE = [
    *("cp1252", "cp1250", "cp1251", "koi8_r", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp874"),
    *("gb18030", "big5hkscs", "cp932", "euc_jp", "cp949"),
]

_KANA = re.compile("[\u3041-\u3096\u30a1-\u30fa]")  # full width: half-width ones are any byte's reading
_COMMENT = re.compile(rb"<!--.*?(?:-->|\Z)", re.DOTALL)
_META = re.compile(rb"<meta[\s/][^>]*", re.IGNORECASE)
_META_CHARSET = re.compile(rb"""\bcharset\s*=\s*["']?\s*([^\s"'/>;]+)""", re.IGNORECASE)
_XML_ENCODING = re.compile(rb"""\s*<\?xml\s[^>]*?\bencoding\s*=\s*["']([^"']+)""")
_LANGUAGE = re.compile(rb"""<html\s[^>]*?\blang\s*=\s*["']?([a-z]{2,3})\b""", re.IGNORECASE)


class Decoded(NamedTuple):
    """A page's text, and the encoding in which it was read: "utf-8", "windows-1252", "gbk", ..."""

    text: str
    encoding: str


def decode_html(body: bytes, http_charset: str | None) -> str:
    """The text of an HTML page; see `decode`."""
    return decode(body, http_charset).text


def decode(body: bytes, http_charset: str | None) -> Decoded:
    """The text of a page and its encoding; never raises, undecodable bytes become U+FFFD.

    `http_charset` is the charset of the HTTP Content-Type header, or None.
    """
    for mark, marked in _BOMS:
        if body.startswith(mark):
            return _decoded(body[len(mark) :], marked, [])
    if body[:2] in (b"<\0", b"\0<"):  # UTF-16 without a mark: markup begins with an ASCII character
        return _decoded(body, "utf_16_le" if body[0] else "utf_16_be", [])
    try:
        text, error = body.decode("utf_8"), None
    except UnicodeDecodeError as broken:
        text, error = body.decode("utf_8", "replace"), broken
    if error is None and len(body) - len(text) > _CHANCE:
        return Decoded(text, "utf-8")
    labels = [http_charset, _label_in_page(body)]
    declared = [codec for label in labels if (codec := codec_of(label))]
    if _is_utf8(body, text, error, declared):
        return Decoded(text, "utf-8")
    for codec in declared:
        found = _decoded(body, codec, labels)
        # A declaration that the bytes contradict (a tenth of what is not ASCII does not decode) is not believed.
        if codec != "utf_8" and 10 * found.text.count("\ufffd") <= _non_ascii(found.text):
            return found
    return _decoded(body, _detect(body), [])


def _decoded(body: bytes, codec: str, labels: list[str | None]) -> Decoded:
    name = _NAMES.get(codec) or re.sub("^(iso)", r"\1-", codec.replace("cp", "windows-")).replace("_", "-")
    if codec == "gb18030" and any(codec_of(label) == codec and "18030" not in (label or "") for label in labels):
        name = "gbk"  # one decoder, two names: of all its labels, only gb18030's own means that
    return Decoded(body.decode(codec, "replace"), name)


def codec_of(label: str | None) -> str | None:
    """The Python codec for an encoding label found on the web, or None for an unknown one."""
    return _CODECS.get(re.sub(r"[^a-z0-9]", "", label.lower())) if label else None


def _is_utf8(body: bytes, text: str, error: UnicodeDecodeError | None, declared: list[str]) -> bool:
    """Is UTF-8, read as `text` with U+FFFD for what is broken, the best reading of the bytes?"""
    other = next((codec for codec in declared if codec != "utf_8"), None)
    if error is not None:
        cut = error.reason == "unexpected end of data" and len(body) - error.start <= 3
        broken = text.count("\ufffd") - body.count(b"\xef\xbf\xbd")
        whole = _non_ascii(text) - broken
        return cut or broken * (4 if other else 1) <= whole
    # Few continuation bytes may be chance, if the page says that it is Chinese, Japanese or Korean.
    doubtful = other in _EAST_ASIAN and len(body) > len(text)
    return other not in _STATEFUL and not (doubtful and other == declared[0])


def _label_in_page(body: bytes) -> str | None:
    """The label of an encoding that the page's own head declares (WHATWG "prescan a byte stream")."""
    head = body[:_PRESCAN_BYTES]
    label = None
    if (xml := _XML_ENCODING.match(head)) and codec_of(xml[1].decode("latin_1")):
        label = xml[1].decode("latin_1")
    for tag in _META.findall(_COMMENT.sub(b"", head)):
        if (found := _META_CHARSET.search(tag)) and codec_of(found[1].decode("latin_1")):
            label = found[1].decode("latin_1")
            break
    # The declaration was read as ASCII, so the page is not UTF-16 (WHATWG says the same).
    return "utf-8" if codec_of(label) in ("utf_16_le", "utf_16_be") else label


def _detect(body: bytes) -> str:
    """The likeliest codec of bytes that are not UTF-8; windows-1252 if there is no telling."""
    from charset_normalizer import from_bytes

    pieces = re.split(rb"[<>\n]+", body[: 64 * _SAMPLE_BYTES])
    sample = b"\n".join(piece for piece in pieces if not piece.isascii())[:_SAMPLE_BYTES]
    for codec in ("euc_jp", "cp932"):
        if _is_japanese(sample.decode(codec, "replace")):
            return codec
    matches = from_bytes(sample, cp_isolation=_DETECTABLE)
    best = matches.best()
    if best is None:
        return "cp1252"
    if best.encoding not in _LATIN:
        return best.encoding
    if (language := _LANGUAGE.search(body[:_PRESCAN_BYTES])) is not None:
        return _BY_LANGUAGE.get(language[1].decode("latin_1").lower(), "cp1252")
    tied = [match for match in matches if match.chaos <= best.chaos]
    western = any("cp1252" in (match.encoding, *match.could_be_from_charset) for match in tied)
    return "cp1252" if western else best.encoding


def _is_japanese(text: str) -> bool:
    """Is a fifth of what is not ASCII kana, and does nearly all decode? No wrong codec gives that."""
    others = _non_ascii(text)
    return len(_KANA.findall(text)) * 5 >= others > 0 and text.count("\ufffd") * 50 <= others


def _non_ascii(text: str) -> int:
    return len(text) - len(text.encode("ascii", "ignore"))
