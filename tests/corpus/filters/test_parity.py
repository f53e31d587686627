"""Our decisions and datatrove's on real documents: for each document and stage, one rule or one text."""

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
SAMPLE = 12  # every 12th document; the long test reads all documents


def ours(words: str) -> dict[str, Callable[[str], str]]:
    """Each stage as a function of a text: the rule that drops it, or "kept:" and the text that is kept."""
    repetition = gopher_repetition.Config(words=words)
    quality = gopher_quality.Config(words=words)
    cleaning, terminal = c4.Config(words=words), c4.Config(words=words, terminal_punctuation=True)
    prose = fineweb.Config(words=words)

    def as_text(answer: Drop | str | None, text: str) -> str:
        return answer.rule if isinstance(answer, Drop) else f"kept:{text if answer is None else answer}"

    return {
        "gopher_repetition": lambda text: as_text(gopher_repetition.judge(text, "en", repetition), text),
        "gopher_quality": lambda text: as_text(gopher_quality.judge(text, "en", quality), text),
        "c4": lambda text: as_text(c4.clean(text, "en", cleaning), text),
        "c4_terminal": lambda text: as_text(c4.clean(text, "en", terminal), text),
        "fineweb": lambda text: as_text(fineweb.judge(text, "en", prose), text),
    }


@cache
def theirs() -> dict[str, Callable[[str], str]]:
    from tests.oracles.filters_datatrove import stages

    return stages()


def differences(texts: Iterable[str]) -> tuple[int, dict[str, list[tuple[str, str, str, str]]]]:
    """(the number of decisions, those that differ by splitter: stage, their answer, ours, text)."""
    stages = {words: ours(words) for words in ("native", "spacy")}
    differ: dict[str, list[tuple[str, str, str, str]]] = {"native": [], "spacy": []}
    decisions = 0
    for text in texts:
        todo = [(stage, text) for stage in theirs()]
        while todo:
            stage, document = todo.pop()
            expected = theirs()[stage](document)
            decisions += 1
            if stage == "c4" and expected.startswith("kept:") and expected[5:] not in ("", document):
                todo.append(("fineweb", expected[5:]))  # what FineWeb's rules see in a pipeline
            for words, judges in stages.items():
                if (answer := judges[stage](document)) != expected:
                    differ[words].append((stage, expected[:200], answer[:200], document))
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
    # A run of Han characters or kana is one word to spaCy's English rules; here, each character is a word.
    assert [difference for difference in differ if max(difference[0]) < "\u3000"] == []


def test_context_does_not_change_words() -> None:
    """spaCy splits a whole text as it splits its chunks, also where faces meet across spaces and lines."""
    import spacy

    language = spacy.blank("en")
    pieces = [":", "-", ")", "(", ":-)", "(:", "o.o", "'", "Cause", "and", "/", "or", "a.m.", "w", "10", "am", ";"]
    texts = [" ".join(pieces[(i * k + k) % len(pieces)] for i in range(12)) for k in range(1, 40)]
    texts += [text.replace(" ", "\n") for text in texts] + [text.replace(" ", "  ") for text in texts]
    for text in texts:
        whole = [token.text.strip() for token in language.tokenizer(text)]
        assert [word for word in whole if word] == list(chain.from_iterable(splitter("spacy")(text.split()))), text
