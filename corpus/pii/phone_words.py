"""Words around telephone numbers in many languages, and the regions that a language or a web address points to."""

from __future__ import annotations

from urllib.parse import urlsplit

from corpus.pii.text import words

STEMS = tuple(words("phone_stems"))
ENDINGS = tuple(words("phone_endings"))
LABELS = frozenset(words("phone_labels"))
VERBS = frozenset(words("phone_verbs"))
FILLERS = frozenset(words("phone_fillers")) - frozenset(words("other_numbers"))
UNSPACED = words("phone_unspaced")
OTHERS = frozenset(words("other_numbers"))
OTHER_STEMS = tuple(word for word in words("other_numbers") if len(word) > 5)
WORLD = words("world")
REGIONS = {language: tuple(regions.split(",")) for language, _, regions in (w.partition(":") for w in words("regions"))}

# The country domains of these regions, without .co, which is sold to everybody.
_TOP_LEVEL = frozenset(region for regions in REGIONS.values() for region in regions) - {"CO"}


def regions_of(language: str | None, url: str | None) -> tuple[str, ...]:
    """The regions whose phone numbers to expect in a document, by its language and URL; the most likely one first."""
    top = _host(url).rpartition(".")[2].upper() if url else ""
    top = "GB" if top == "UK" else top
    of_language = REGIONS.get(language or "", ())
    if top not in _TOP_LEVEL:
        return of_language
    return (top, *(region for region in of_language if region != top))


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
