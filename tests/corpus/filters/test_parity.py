"""Our decisions and datatrove's on real documents: the same rule, or the same text, for each document and stage."""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Callable, Iterable
from functools import cache
from itertools import chain
from pathlib import Path

import pytest

from bench.documents import crawled, english
from corpus.filters import c4, fineweb, gopher_quality, gopher_repetition
from corpus.filters.words import splitter
from corpus.schema import Drop

pytestmark = pytest.mark.skipif(
    not (importlib.util.find_spec("datatrove") and importlib.util.find_spec("spacy")),
    reason="datatrove and spaCy (the extra `bench`) are not installed",
)
SAMPLE = 12  # every so many-th document; all of them in the long test


def ours(words: str) -> dict[str, Callable[[str], str]]:
    """Each stage as a function of a text: the rule by which it is dropped, or the text that is kept after "kept:"."""
    repetition = gopher_repetition.Config(words=words)
    quality = gopher_quality.Config(words=words)
    cleaning, terminal = c4.Config(words=words), c4.Config(words=words, terminal_punctuation=True)
    prose = fineweb.Config(words=words)

    def told(answer: Drop | str | None, text: str) -> str:
        return answer.rule if isinstance(answer, Drop) else f"kept:{text if answer is None else answer}"

    return {
        "gopher_repetition": lambda text: told(gopher_repetition.judge(text, "en", repetition), text),
        "gopher_quality": lambda text: told(gopher_quality.judge(text, "en", quality), text),
        "c4": lambda text: told(c4.clean(text, "en", cleaning), text),
        "c4_terminal": lambda text: told(c4.clean(text, "en", terminal), text),
        "fineweb": lambda text: told(fineweb.judge(text, "en", prose), text),
    }


@cache
def theirs() -> dict[str, Callable[[str], str]]:
    from tests.oracles.filters_datatrove import stages

    return stages()


def differences(texts: Iterable[str]) -> tuple[int, dict[str, list[tuple[str, str, str, str]]]]:
    """How many decisions there are, and which differ: by splitter, (stage, theirs, ours, text)."""
    stages = {words: ours(words) for words in ("native", "spacy")}
    differ: dict[str, list[tuple[str, str, str, str]]] = {"native": [], "spacy": []}
    decisions = 0
    for text in texts:
        todo = [(stage, text) for stage in theirs()]
        while todo:
            stage, given = todo.pop()
            expected = theirs()[stage](given)
            decisions += 1
            if stage == "c4" and expected.startswith("kept:") and expected[5:] not in ("", given):
                todo.append(("fineweb", expected[5:]))  # what FineWeb's rules see in a pipeline
            for words, judges in stages.items():
                if (answer := judges[stage](given)) != expected:
                    differ[words].append((stage, expected[:200], answer[:200], given))
    return decisions, differ


def check(texts: Iterable[str]) -> None:
    decisions, differ = differences(texts)
    assert decisions > 1000
    assert differ["spacy"] == []
    by_stage = Counter(stage for stage, *_ in differ["native"])
    assert len(differ["native"]) <= 0.002 * decisions, by_stage


def test_decisions_are_those_of_datatrove(testdata: Path) -> None:
    check([*list(crawled(testdata, 1))[::4], *list(english(testdata))[:: 2 * SAMPLE]])


@pytest.mark.long
def test_decisions_are_those_of_datatrove_on_every_document(testdata: Path) -> None:
    check(chain(crawled(testdata), english(testdata)))


def test_words_are_those_of_spacy(testdata: Path) -> None:
    """Every different chunk of the pages of a WARC file and of a sample of English text, one by one."""
    texts = chain(crawled(testdata, 1), list(english(testdata))[::SAMPLE])
    chunks = sorted({piece for text in texts for piece in text.split()})
    differ = [
        (piece, native, spacy)
        for piece, native, spacy in zip(chunks, splitter("english")(chunks), splitter("spacy")(chunks), strict=True)
        if native != spacy
    ]
    assert len(chunks) > 20_000
    # Runs of Han characters and kana are words of one character to us, and one word to spaCy's English rules.
    assert [difference for difference in differ if max(difference[0]) < "\u3000"] == []


def test_context_does_not_change_words() -> None:
    """spaCy on a whole text, and on its chunks: faces next to each other, across spaces and lines."""
    import spacy

    language = spacy.blank("en")
    pieces = [":", "-", ")", "(", ":-)", "(:", "o.o", "'", "Cause", "and", "/", "or", "a.m.", "w", "10", "am", ";"]
    texts = [" ".join(pieces[(i * k + k) % len(pieces)] for i in range(12)) for k in range(1, 40)]
    texts += [text.replace(" ", "\n") for text in texts] + [text.replace(" ", "  ") for text in texts]
    for text in texts:
        whole = [token.text.strip() for token in language.tokenizer(text)]
        assert [word for word in whole if word] == list(chain.from_iterable(splitter("spacy")(text.split()))), text
