"""The classes of characters that the rules for words and the quality rules use.

The published thresholds were measured with the classes of two libraries: spaCy 3.8 (`lang/char_classes.py`,
`lang/punctuation.py`) says what is split off a word, datatrove 0.10 (`utils/text.py`) what a symbol is. A letter of a
script without capitals counts as small and as capital at once, as in spaCy. A letter of a script that is not listed
here is no letter to these rules; the only effect is that nothing is split between such letters.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import lru_cache

# Sentence_Terminal of the Unicode Character Database (PropList.txt). spaCy's sentencizer has the list of an older
# Unicode version, which lacks twelve marks of scripts such as Khmer and Balinese.
SENTENCE_TERMINAL = frozenset(
    "!.?\u0589\u061d\u061e\u061f\u06d4\u0700\u0701\u0702\u07f9\u0837\u0839\u083d\u083e\u0964\u0965\u104a\u104b\u1362"
    "\u1367\u1368\u166e\u1735\u1736\u17d4\u17d5\u1803\u1809\u1944\u1945\u1aa8\u1aa9\u1aaa\u1aab\u1b5a\u1b5b\u1b5e\u1b5f"
    "\u1b7d\u1b7e\u1c3b\u1c3c\u1c7e\u1c7f\u203c\u203d\u2047\u2048\u2049\u2e2e\u2e3c\u2e53\u2e54\u3002\ua4ff\ua60e\ua60f"
    "\ua6f3\ua6f7\ua876\ua877\ua8ce\ua8cf\ua92f\ua9c8\ua9c9\uaa5d\uaa5e\uaa5f\uaaf0\uaaf1\uabeb\ufe52\ufe56\ufe57\uff01"
    "\uff0e\uff1f\uff61"
    "\u17d6\u17d9\u17da\U00010a56\U00010a57\U00010f55\U00010f56\U00010f57\U00010f58\U00010f59\U00010f86\U00010f87"
    "\U00010f88\U00010f89\U00011047\U00011048\U000110be\U000110bf\U000110c0\U000110c1\U00011141\U00011142\U00011143"
    "\U000111c5\U000111c6\U000111cd\U000111de\U000111df\U00011238\U00011239\U0001123b\U0001123c\U000112a9\U0001144b"
    "\U0001144c\U000115c2\U000115c3\U000115c9\U000115ca\U000115cb\U000115cc\U000115cd\U000115ce\U000115cf\U000115d0"
    "\U000115d1\U000115d2\U000115d3\U000115d4\U000115d5\U000115d6\U000115d7\U00011641\U00011642\U0001173c\U0001173d"
    "\U0001173e\U00011944\U00011946\U00011a42\U00011a43\U00011a9b\U00011a9c\U00011c41\U00011c42\U00011ef7\U00011ef8"
    "\U00011f43\U00011f44\U00016a6e\U00016a6f\U00016af5\U00016b37\U00016b38\U00016b44\U00016e98\U0001bc9f\U0001da88"
)

# To Gopher's rules, a word of these characters alone is a symbol. Other signs, such as • or |, are not among them.
PUNCTUATION = SENTENCE_TERMINAL | frozenset(
    "!/—”:％１〈&(、━\\【#%「」，】；+^]~“《„';’{|∶´[=-`*．（–？！：$～«〉,><》)?）。…@_.\"}►»"
    + "".join(map(chr, (*range(9), 11, 12, *range(13, 32), *range(127, 160))))
)

QUOTES = "'\"”“`‘´’‚,„»«「」『』（）〔〕【】《》〈〉〈〉⟦⟧"
MARKS = "…,:;!?¿؟¡()[]{}<>_#*&。？！，、；：～·।،۔؛٪"
CURRENCIES = "$£€¥฿₽﷼₴₠₡₢₣₤₥₦₧₨₩₪₫₭₮₯₰₱₲₳₵₶₷₸₹₺₻₼₾₿"
DOLLARS = ("US$", "C$", "A$")

_MEASURES = (
    "km km² km³ m m² m³ dm dm² dm³ cm cm² cm³ mm mm² mm³ ha µm nm yd in ft kg g mg µg t lb oz m/s km/h kmh mph "
    "hPa Pa mbar mb MB kb KB gb GB tb TB T G M K % км км² км³ м м² м³ дм дм² дм³ см см² см³ мм мм² мм³ нм кг г мг "
    "м/с км/ч кПа Па мбар Кб КБ кб Мб МБ мб Гб ГБ гб Тб ТБ كم² كم³ م م² م³ سم سم² سم³ مم مم² مم³ كم غرام جرام جم "
    "كغ ملغ كوب тбكم اكواب"
)
# Words that are split off a digit before them. The last but one is a mistake in spaCy's list, kept as it is there.
UNITS = frozenset(_MEASURES.split())

_UNCASED = (
    "0591-05F4 0620-064A 066E-06D5 06E5-06FF 0750-077F 08A0-08BD 0900-09FF 0B80-0BFF 0C00-0CFF 0D80-0DFF 1100-137F "
    "2E80-2FDF 2FF0-303F 3040-30FF 31C0-31EF 3200-33FF 3400-4DBF 4E00-9FFF AC00-D7AF F900-FAFF FB1D-FBB1 FBD3-FD3D "
    "FD50-FDC7 FDF0-FDFB FE30-FE4F FE70-FEFC 1EE00-1EEBB 1F200-1F2FF 20000-2EBEF 2F800-2FA1F"
)
# The Latin script with its extensions, phonetic and full-width letters.
_CASED = "41-5A 61-7A C0-D6 D8-F6 F8-1BF 1C4-2AF 1D00-1D25 1D6B-1D77 1D79-1D9A 1E00-1EFF 2C60-2C7F A722-A787 "
_CASED += "A78B-A7B9 AB30-AB5A AB60-AB64 FF21-FF3A FF41-FF5A"
_SMALL = "а-яёәөүҗңһα-ωάέίόώήύґєіїѓѕјљњќѐѝ"  # Cyrillic and Greek; their capitals are derived from them


def _ranges(text: str) -> Iterator[tuple[int, int]]:
    for part in text.split():
        first, last = part.split("-")
        yield int(first, 16), int(last, 16)


def _letters() -> tuple[str, str]:
    """(small letters, capitals) of the scripts that have both."""
    small = [chr(code) for first, last in _ranges(_CASED) for code in range(first, last + 1)]
    others = [*map(chr, range(ord("а"), ord("я") + 1)), *map(chr, range(ord("α"), ord("ω") + 1))]
    others += [char for char in _SMALL if char.isalpha() and char not in others]
    small += [*others, *(char.upper() for char in others if len(char.upper()) == 1)]
    return "".join(filter(str.islower, small)), "".join(char for char in small if char.isupper() or char.istitle())


SMALL_LETTERS, CAPITALS = _letters()
_LOWER, _UPPER = frozenset(SMALL_LETTERS), frozenset(CAPITALS)
_UNCASED_RANGES = tuple(_ranges(_UNCASED))
UNCASED_CLASS = "".join(
    f"{chr(first)}-{chr(last)}" for first, last in _UNCASED_RANGES
)  # for use inside [...] of a pattern


@lru_cache(maxsize=8192)
def is_uncased(char: str) -> bool:
    """Whether `char` is of a script without capitals."""
    return any(first <= ord(char) <= last for first, last in _UNCASED_RANGES)


def is_small(char: str) -> bool:
    """Whether `char` is a small letter, or of a script without capitals."""
    return char in _LOWER or is_uncased(char)


def is_capital(char: str) -> bool:
    """Whether `char` is a capital, or of a script without capitals."""
    return char in _UPPER or is_uncased(char)


@lru_cache(maxsize=8192)
def is_icon(char: str) -> bool:
    """Whether `char` has Unicode's category So, such as © ° ★: a symbol, but not of mathematics, money or writing."""
    return unicodedata.category(char) == "So"


@lru_cache(maxsize=8192)
def is_punctuation(word: str) -> bool:
    """Whether every character of `word` has one of Unicode's categories of punctuation."""
    return all(unicodedata.category(char).startswith("P") for char in word)
