"""What the words right before a number call it: `Part no. 0201-5573-5603`, `Zählerstand 0049 8912 3456 71`.

Many numbers have the form of a telephone number, and some even the check digit of a card. A word for another kind of
number, right before the number, decides. Such a word is listed (`order`, `dossier`), or it is a compound that ends with
a word for `number` (`Vertragsnummer`), or a noun stands before a word for `number` (`docket number is`).
"""

from __future__ import annotations

import re
from collections.abc import Container
from functools import lru_cache

from corpus.pii.phone_words import ENDINGS, FILLERS, LABELS, OTHER_STEMS, OTHERS, STEMS, UNSPACED, VERBS
from corpus.pii.text import nothing_but_words, words

_NEAR = frozenset(words("other_near"))
_NEAR_STEMS = tuple(word for word in _NEAR if len(word) > 5)
_NUMBER = frozenset(words("number_words"))
_LINKS = frozenset(words("number_links"))
_NUMBER_ENDINGS = tuple(words("number_endings"))
_OWN = frozenset(words("own_numbers"))
_ANSWERERS = frozenset(words("answerers"))
_DEPARTMENTS = frozenset(words("departments"))
_UNSPACED_OTHER = re.compile(
    "(" + "|".join(map(re.escape, words("other_unspaced"))) + r")\s?(?:は|이|가|是|为|為)?\s?[:：#]?\s?\Z"
)
_WORDS = re.compile(r"[^\W\d_]+")
# What may stand between the words that name a number, and between the last word and the number. A line may end there.
_BETWEEN = re.compile(r"[ \t.:#=°№(\[\"'’/-]{1,4}")
_BEFORE = re.compile(r"[ \t.:：#=°№(\[\"'’/-]{0,4}\n?[ \t(\"'#]{0,4}")
_ABBREVIATION = re.compile(r"(?<![^\W_])(?:[SP]/N|SIN|EIN|Az\.|Asset tag|Tag)[.:#]{0,2} ?#?\Z")
_REACH = 56  # characters
# A number before this number, and the words between them: `0201-5573-0001 to 0201-5573-0999`.
_LIST = re.compile(
    r"(?<![0-9A-Za-z])[0-9][0-9 ./-]{4,24}(?:\s?[,;/&+–-]\s?|\s(?:to|and|or|through|replaces|superse[dc]es|bis|und|oder"
    r"|ersetzt|à|et|ou|remplace|al?|y|e|o|reemplaza|sostituisce|substitui|t/m|en|vervangt|do|i|заменяет|и|до)\s)\Z"
)
_OTHER_AFTER = re.compile(
    r"\s(?:replace[sd]?|superse[dc]e[sd]?|units?|pcs|pieces|rev\b|(?:is |was |are )?(?:in|out of) stock|ersetzt|Stück"
    r"|remplace|reemplaza|sostituisce|vervangt"
    r"|(?:is|was|ist|est|es|è) (?:the|a|an|our|your|die|der|das|eine?|la|le|l'|une?|el|una|il|lo) (?P<name>[^\W\d_]+)"
    r"|\((?P<note>[^\W\d_]+))",
)


@lru_cache(4096)
def is_label(word: str) -> bool:
    """Whether a word in small letters announces a telephone number."""
    return word in LABELS or word.startswith(STEMS) or word.endswith(ENDINGS)


def is_other(word: str) -> bool:
    """Whether a word in small letters names another kind of number, wherever it stands before the number."""
    return word not in _DEPARTMENTS and (word in OTHERS or word.startswith(OTHER_STEMS))


@lru_cache(4096)
def is_other_near(word: str) -> bool:
    """Whether a word in small letters names another kind of number if the number follows it."""
    if word in _DEPARTMENTS or word in _OWN or is_label(word):
        return False
    word = word.removeprefix("ال")  # the Arabic article
    if is_other(word) or word in _NEAR or word.startswith(_NEAR_STEMS):
        return True
    return len(word) > 5 and word.endswith(_NUMBER_ENDINGS) and word not in FILLERS


def is_named_otherwise(text: str, start: int, any_noun: bool = True, unless: Container[str] = ()) -> bool:
    """Whether the words right before the number at `start` name another kind of number.

    any_noun  a noun that is not listed counts too if a word for `number` follows it
    unless    words in small letters that do not count
    """
    for _ in range(4):  # a list of numbers behind one name
        if _is_after_name(text, start, any_noun, unless):
            return True
        before = _LIST.search(text, max(0, start - 44), start)
        if not before:
            return False
        start = before.start()
    return False


def follows_noun(text: str, start: int) -> bool:
    """Whether only spaces part the number at `start` from a word that is no name: `Sensor 0115 496 0003`.

    A name is two words with capital letters (`Ada Cole 0115 496 0003`), or is in a script without capitals.
    """
    match = _NOUN.search(text, max(0, start - 40), start)
    if not match:
        return False
    word = match[2].lower()
    if word in FILLERS or word in _ANSWERERS or is_label(word):
        return False
    if word[0] == word[0].upper():
        return False
    return not (match[2][0].isupper() and match[1] and match[1][0].isupper())


_NOUN = re.compile(
    r"(?:(?<![^\W\d_])([^\W\d_][^\W\d_’'-]*\.?)[ -])?(?<![^\W\d_])([^\W\d_][^\W\d_’'-]*)[ \u00a0]{1,2}\Z"
)


def is_described_otherwise(text: str, end: int) -> bool:
    """Whether the words right behind the number that ends at `end` say that it is another kind of number."""
    match = _OTHER_AFTER.match(text, end)
    if not match:
        return False
    name = match["name"] or match["note"]
    return not name or is_other_near(name.lower())


def _is_after_name(text: str, start: int, any_noun: bool, unless: Container[str]) -> bool:
    window = nothing_but_words(text, start, _REACH)
    if _ABBREVIATION.search(window):
        return True
    if not window.isascii() and (match := _UNSPACED_OTHER.search(window)):
        return not window[: match.end(1)].endswith(tuple(UNSPACED)) and match[1] not in unless
    noun = ""  # a word with a small first letter that is not listed
    numbered, end, between = False, len(window), _BEFORE
    for match in reversed(list(_WORDS.finditer(window))):
        word = match[0].lower()
        if not between.fullmatch(window, match.end(), end) or is_label(word) or word in VERBS:
            return False
        if is_other_near(word) and word not in unless:
            return True
        if word in _NUMBER:
            if noun:  # `Codice cliente 011 123 4567`
                return any_noun
            numbered = True
        elif word in _OWN:
            return False
        elif word not in FILLERS and word not in unless and word not in _LINKS:
            if noun or numbered or match[0] != word:
                return any_noun and numbered and len(word) > 2
            noun = word
        end, between = match.start(), _BETWEEN
    return False
