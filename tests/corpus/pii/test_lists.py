"""Lists by type: texts with values in ⟦ ⟧, and texts without any that look as if they had some; all of them invented.

`\\n` and `\\t` stand for a line break and a tab. In secret.txt, `{a36}` stands for 36 random characters of an alphabet,
so that the file itself holds no key.
"""

from __future__ import annotations

import random
import re
import string
from pathlib import Path

import pytest

from corpus.pii.scrub import TYPES, find
from tests.support.pii_texts import PUBLIC

_VALUE = re.compile("⟦(.*?)⟧", re.DOTALL)
_ALPHABETS = {
    "a": string.ascii_letters + string.digits,
    "B": string.ascii_letters + string.digits + "+/",
    "U": string.ascii_uppercase + "234567",
    "h": string.digits + "abcdef",
    "d": "123456789",
    "Q": "qpzry9x8gf2tvdw0s3jn54khce6mua7l",
}


def cases(kind: str, section: str) -> list[str]:
    """The texts of a section of the list of a type."""
    text = (Path(__file__).parent / "lists" / f"{kind}.txt").read_text(encoding="utf-8")
    values, _, look_alikes = text.partition("[look-alikes]\n")
    lines = values.splitlines()[1:] if section == "values" else look_alikes.splitlines()
    random_ = random.Random(17)

    def filled(match: re.Match[str]) -> str:
        return "".join(random_.choice(_ALPHABETS[match[1]]) for _ in range(int(match[2])))

    if kind == "secret":
        lines = [re.sub("{([aBUhdQ])([0-9]+)}", filled, line) for line in lines]
    return [line.replace("\\n", "\n").replace("\\t", "\t") for line in lines]


def places(marked: str) -> tuple[str, list[tuple[int, int]]]:
    """A text without its marks, and the (start, end) of its values."""
    text, spans = "", []
    last = 0
    for match in _VALUE.finditer(marked):
        text += marked[last : match.start()]
        spans.append((len(text), len(text) + len(match[1])))
        text += match[1]
        last = match.end()
    return text + marked[last:], spans


@pytest.mark.parametrize("kind", TYPES)
def test_values_of_the_lists_are_found_whole(kind: str) -> None:
    missed, count = [], 0
    for marked in cases(kind, "values"):
        text, spans = places(marked)
        mine = {(span.start, span.end) for span in find(text, PUBLIC) if span.type == kind}
        missed += [(text, text[start:end]) for start, end in spans if (start, end) not in mine]
        count += len(spans)
    assert count >= 40
    assert len(missed) <= 0.03 * count, missed


@pytest.mark.parametrize("kind", TYPES)
def test_look_alikes_of_the_lists_are_left_alone(kind: str) -> None:
    lines = cases(kind, "look-alikes")
    touched = [(line, spans) for line in lines if (spans := find(line, PUBLIC))]
    assert len(lines) >= 40
    assert len(touched) <= 0.03 * len(lines), touched


@pytest.mark.parametrize(
    "text",
    ["Meter reading 0045 8812 9930 1207", "dossier 06-1980-2804", "Part no. 0201-5573-5603 replaces"],
)
def test_numbers_of_other_things_are_no_telephone_numbers(text: str) -> None:
    assert find(text, PUBLIC) == []


def test_social_security_numbers_with_spaces_in_rows_of_people() -> None:
    rows = "Jane Roe, 03/11/1974, 888 10 0716, Denver\nJohn Doe, 12/30/1981, 791 33 4821, Reno"
    assert [span.text for span in find(rows, PUBLIC) if span.type == "ssn"] == ["888 10 0716", "791 33 4821"]
    assert find("a matrix of 888 10 0716 points", PUBLIC) == []
