"""Bytes of an HTML page -> text.

In: the body as it was crawled, and the charset that its HTTP header names. Out: the text, for any bytes, and the
encoding that it was read in, by its name in the WHATWG Encoding Standard.

The encoding is looked for where browsers look for it, in their order (WHATWG HTML, "determining the character
encoding"): byte order mark, HTTP header, `<meta>` in the head. One thing is different on purpose: bytes that are valid
UTF-8 are UTF-8, whatever the page declares. Text in another encoding is valid UTF-8 only by a rare accident, while
wrong declarations (a server's default `ISO-8859-1` for a page in UTF-8) are common. A page in UTF-8 is decoded once,
and nobody looks for its declarations.

Some pages declare no encoding, or one that their bytes contradict. Their encoding is detected from a sample of their
text that is not ASCII. The sample has a limit, so that a page costs milliseconds, and every run has the same answer.
"""

from __future__ import annotations

import re
from typing import NamedTuple

# Browsers look for a `<meta>` in the first 1,024 bytes and then in the rest of the head; scripts may stand before it.
_PRESCAN_BYTES = 16 * 1024
_CHANCE = 4  # up to so many continuation bytes, text in another encoding may be valid UTF-8 by chance
_SAMPLE_BYTES = 8 * 1024  # for detection: takes 2.5 ms on one core; a longer sample changed no answer on real pages

_BOMS = ((b"\xef\xbb\xbf", "utf_8"), (b"\xff\xfe", "utf_16_le"), (b"\xfe\xff", "utf_16_be"))

# Python codec -> the labels of the encoding, in lower case and without punctuation (WHATWG Encoding Standard, "Names
# and labels": latin-1 means windows-1252, gb2312 means its superset gb18030, and so on). The list is closed on purpose:
# codecs.lookup would find `rot13`, too, and import a module that the page chooses.
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

# Python codec -> the standard's name, where the two differ. HZ has no name there: browsers refuse it, for reasons of
# security that do not matter to a corpus.
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

# Encodings in which ASCII bytes can stand for other characters: bytes that are valid UTF-8 prove nothing here.
_STATEFUL = {"iso2022_jp", "hz", "utf_16_le", "utf_16_be"}
_EAST_ASIAN = {"gb18030", "big5hkscs", "euc_jp", "cp932", "cp949"}

# The encodings that detection can find. Among the Latin ones, the page's `lang` decides (codec -> languages), because
# a few accented letters give them equal scores. Each Windows code page stands for its ISO relative, too (WHATWG HTML,
# the table of default encodings by locale).
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

_KANA = re.compile("[\u3041-\u3096\u30a1-\u30fa]")  # no half-width kana: most bytes of other encodings read as such
_COMMENT = re.compile(rb"<!--.*?(?:-->|\Z)", re.DOTALL)
_META = re.compile(rb"<meta[\s/][^>]*", re.IGNORECASE)
_META_CHARSET = re.compile(rb"""\bcharset\s*=\s*["']?\s*([^\s"'/>;]+)""", re.IGNORECASE)
_XML_ENCODING = re.compile(rb"""\s*<\?xml\s[^>]*?\bencoding\s*=\s*["']([^"']+)""")
_LANGUAGE = re.compile(rb"""<html\s[^>]*?\blang\s*=\s*["']?([a-z]{2,3})\b""", re.IGNORECASE)


class Decoded(NamedTuple):
    """The text of a page, and the encoding in which it was read: "utf-8", "windows-1252", "gbk", ..."""

    text: str
    encoding: str


def decode_html(body: bytes, http_charset: str | None) -> str:
    """The text of an HTML page; see `decode`."""
    return decode(body, http_charset).text


def decode(body: bytes, http_charset: str | None) -> Decoded:
    """The text of a page and its encoding. No bytes raise an error: those that do not decode become U+FFFD.

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
        decoded = _decoded(body, codec, labels)
        # The bytes contradict a declaration if more than a tenth of the characters that are not ASCII do not decode.
        if codec != "utf_8" and 10 * decoded.text.count("\ufffd") <= _non_ascii(decoded.text):
            return decoded
    return _decoded(body, _detect(body), [])


def _decoded(body: bytes, codec: str, labels: list[str | None]) -> Decoded:
    """The text in the encoding of a Python codec; `labels` are the labels by which the page declares it."""
    name = _NAMES.get(codec) or re.sub("^(iso)", r"\1-", codec.replace("cp", "windows-")).replace("_", "-")
    if codec == "gb18030" and any(codec_of(label) == codec and "18030" not in (label or "") for label in labels):
        name = "gbk"  # one decoder has two names, and all its labels but gb18030's own mean gbk
    return Decoded(body.decode(codec, "replace"), name)


def codec_of(label: str | None) -> str | None:
    """The Python codec for the label of an encoding, as pages write it; None for an unknown label."""
    return _CODECS.get(re.sub(r"[^a-z0-9]", "", label.lower())) if label else None


def _is_utf8(body: bytes, text: str, error: UnicodeDecodeError | None, declared: list[str]) -> bool:
    """Whether UTF-8 is the best reading of the bytes.

    `text` is the reading in UTF-8, with U+FFFD where bytes do not decode, and `error` its first error. `declared` are
    the codecs that the page declares.
    """
    other = next((codec for codec in declared if codec != "utf_8"), None)
    if error is not None:
        cut = error.reason == "unexpected end of data" and len(body) - error.start <= 3
        broken = text.count("\ufffd") - body.count(b"\xef\xbf\xbd")
        whole = _non_ascii(text) - broken
        return cut or broken * (4 if other else 1) <= whole
    # A few continuation bytes may be chance where the page declares a Chinese, Japanese or Korean encoding.
    doubtful = other in _EAST_ASIAN and len(body) > len(text)
    return other not in _STATEFUL and not (doubtful and other == declared[0])


def _label_in_page(body: bytes) -> str | None:
    """The label of the encoding that the head of the page declares (WHATWG HTML, "prescan a byte stream")."""
    head = body[:_PRESCAN_BYTES]
    label = None
    if (xml := _XML_ENCODING.match(head)) and codec_of(xml[1].decode("latin_1")):
        label = xml[1].decode("latin_1")
    for tag in _META.findall(_COMMENT.sub(b"", head)):
        if (charset := _META_CHARSET.search(tag)) and codec_of(charset[1].decode("latin_1")):
            label = charset[1].decode("latin_1")
            break
    # The declaration could be read as ASCII, so the page cannot be UTF-16 (as the WHATWG standard concludes, too).
    return "utf-8" if codec_of(label) in ("utf_16_le", "utf_16_be") else label


def _detect(body: bytes) -> str:
    """The likeliest codec of bytes that are not UTF-8; windows-1252 if no codec is likely."""
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
    """Whether nearly all characters decode, and a fifth of those beyond ASCII are kana: then the codec is right."""
    others = _non_ascii(text)
    return len(_KANA.findall(text)) * 5 >= others > 0 and text.count("\ufffd") * 50 <= others


def _non_ascii(text: str) -> int:
    """The number of characters that are not ASCII."""
    return len(text) - len(text.encode("ascii", "ignore"))
