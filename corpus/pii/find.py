"""All finders over one text -> spans in order of place, without overlaps.

A type is searched for only in a text that has a character that every value of the type has, such as an @ or a digit.
Where the spans of two types overlap, the type with the stronger evidence wins: check digits before a leading +, and a
leading + before the mere grouping of digits.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Sequence

from corpus.pii.accounts import cards, ibans
from corpus.pii.addresses import emails, hidden_emails, ipv4, ipv6
from corpus.pii.masks import Masker, mask
from corpus.pii.phones import phones
from corpus.pii.secrets import secrets
from corpus.pii.ssns import ssns
from corpus.pii.text import DIGIT, Numbers, Span, with_ascii_digits

TYPES = ("email", "ip", "phone", "credit_card", "iban", "ssn", "secret")
_NUMBERED = frozenset(TYPES) - {"email", "ip"}
_ROUNDS = 8  # most rounds of masking and searching; nearly every text needs two


def find(text: str, types: Sequence[str], public: bool, regions: Sequence[str], write: Masker) -> list[Span]:
    """The values of `types` in `text`; when `write` has masked them, no value is left to be found.

    A number may show only when its neighbour is masked, so the masked text is searched again.

    public   leave IP addresses that the internet does not route
    regions  ISO 3166 codes of the countries whose phone numbers to expect
    write    what is written in place of a span
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


def _once(text: str, types: Sequence[str], public: bool, regions: Sequence[str]) -> list[Span]:
    """The values in a text, from one search."""
    spans: list[Span] = []
    for kind, places in _places(text, types, public, regions):
        new = [Span(start, end, kind, text[start:end]) for start, end in places]
        spans = _without_overlaps(spans, new) if new else spans
    return spans


def _places(
    text: str, types: Sequence[str], public: bool, regions: Sequence[str]
) -> Iterator[tuple[str, Iterable[tuple[int, int]]]]:
    """(type, (start, end) of its values), the types with the strongest evidence first."""
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


def _without_overlaps(spans: list[Span], new: list[Span]) -> list[Span]:
    """`spans` and the new spans that lie between them, in order of place; both lists are in order."""
    free, index, end = [], 0, 0
    for span in new:
        while index < len(spans) and spans[index].end <= span.start:
            index += 1
        if span.start >= end and (index == len(spans) or span.end <= spans[index].start):
            free.append(span)
            end = span.end
    return sorted([*spans, *free])


def _merged(text: str, spans: list[Span], new: list[Span], write: Masker) -> list[Span]:
    """`spans` of `text`, and the `new` spans that were found when these were masked, in places of `text`.

    A new span that overlaps the mask of an old span takes in the old span.
    """
    starts, ends, shift = [], [], 0  # of the masks, in the masked text
    for span in spans:
        starts.append(span.start + shift)
        shift += len(write(span)) - (span.end - span.start)
        ends.append(span.end + shift)
    merged, kept = [], 0
    for span in new:
        first = bisect.bisect_right(ends, span.start)  # it overlaps the masks from `first` up to `last`
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
