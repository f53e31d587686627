"""All finders over one text: spans in order, none overlapping another, and none left that masking would bring to light.

Types are looked for only in a text that has the character that they cannot do without: an @, a digit. Where two types
claim the same characters, the one with the stronger evidence has them: check digits before a leading +, that before a
mere grouping of digits.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Sequence

from corpus.pii.accounts import cards, ibans, ssns
from corpus.pii.addresses import emails, hidden_emails, ipv4, ipv6
from corpus.pii.masks import Masker
from corpus.pii.phones import phones
from corpus.pii.secrets import secrets
from corpus.pii.text import DIGIT, Numbers, Span, with_ascii_digits

TYPES = ("email", "ip", "phone", "credit_card", "iban", "ssn", "secret")
_NUMBERED = frozenset(TYPES) - {"email", "ip"}
_ROUNDS = 8  # of masking, until nothing new is found; two are enough for nearly every text


def find(text: str, types: Sequence[str], public: bool, regions: Sequence[str], write: Masker) -> list[Span]:
    """The values of `types` in `text`, such that masked by `write` the text holds none any more.

    `public`: no IP addresses that the internet does not route. `regions`: whose phone numbers to expect.
    A number that hid behind its neighbour comes to light when that is masked: so the masked text is looked at again.
    """
    spans = _once(text, types, public, regions)
    if not spans:
        return spans
    for _ in range(_ROUNDS):
        masked = mask(text, spans, write)
        new = [span for span in _once(masked, types, public, regions) if write(span) != span.text]
        if not new:
            break
        spans = _merged(text, spans, new, write)
    return spans


def mask(text: str, spans: Iterable[Span], write: Masker) -> str:
    """`text` with each span replaced by what `write` says of it."""
    parts, end = [], 0
    for span in spans:
        parts += [text[end : span.start], write(span)]
        end = span.end
    return "".join([*parts, text[end:]])


def _once(text: str, types: Sequence[str], public: bool, regions: Sequence[str]) -> list[Span]:
    taken: list[Span] = []
    for kind, places in _places(text, types, public, regions):
        found = [Span(start, end, kind, text[start:end]) for start, end in places]
        taken = _without_overlaps(taken, found) if found else taken
    return taken


def _places(
    text: str, types: Sequence[str], public: bool, regions: Sequence[str]
) -> Iterator[tuple[str, Iterable[tuple[int, int]]]]:
    """(type, where), the surest first: the first to claim a stretch of text has it."""
    if "email" in types:
        if "@" in text:
            yield "email", emails(text)
        yield "email", hidden_emails(text)
    text = with_ascii_digits(text)
    if not DIGIT.search(text):
        return
    numbers = Numbers.of(text) if _NUMBERED.intersection(types) else Numbers([], [])
    if "secret" in types:
        yield "secret", sorted(secrets(text, numbers))
    if "iban" in types:
        yield "iban", ibans(text, numbers)
    if "credit_card" in types:
        yield "credit_card", cards(text, numbers)
    telephones = list(phones(text, numbers, regions)) if "phone" in types else []
    if telephones:
        yield "phone", [(phone.start, phone.end) for phone in telephones if phone.sure]
    if "ssn" in types:
        yield "ssn", ssns(text, numbers)
    if "ip" in types:
        if ":" in text:
            yield "ip", ipv6(text, public)
        yield "ip", ipv4(text, public)
    if telephones:
        yield "phone", [(phone.start, phone.end) for phone in telephones if not phone.sure]


def _without_overlaps(taken: list[Span], found: list[Span]) -> list[Span]:
    """`taken` and those of `found` that lie in its gaps, in order of place; both lists begin in that order."""
    free, index, end = [], 0, 0
    for span in found:
        while index < len(taken) and taken[index].end <= span.start:
            index += 1
        if span.start >= end and (index == len(taken) or span.end <= taken[index].start):
            free.append(span)
            end = span.end
    return sorted([*taken, *free])


def _merged(text: str, spans: list[Span], new: list[Span], write: Masker) -> list[Span]:
    """`spans` of `text`, and those that were found in it once they were masked, in places of `text`.

    A new one that takes in what was written for an old one takes in the old one.
    """
    starts, ends, shift = [], [], 0  # of what was written, in the masked text
    for span in spans:
        starts.append(span.start + shift)
        shift += len(write(span)) - (span.end - span.start)
        ends.append(span.end + shift)
    merged, kept = [], 0
    for span in new:
        first = bisect.bisect_right(ends, span.start)  # the old spans from `first` until `last` are touched
        last = bisect.bisect_left(starts, span.end)
        start = span.start - (ends[first - 1] - spans[first - 1].end if first else 0)
        end = span.end - (ends[last - 1] - spans[last - 1].end if last else 0)
        if first < last:
            start, end = min(start, spans[first].start), max(end, spans[last - 1].end)
            if starts[first] < span.start:
                start = spans[first].start
            if ends[last - 1] > span.end:
                end = spans[last - 1].end
        merged += spans[kept : max(kept, first)]
        merged.append(Span(start, end, span.type, text[start:end]))
        kept = max(kept, last)
    return merged + spans[kept:]
