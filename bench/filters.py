"""`python -m bench.filters`: the four quality rules on real documents, beside datatrove's (with spaCy).

The documents are the pages of a crawl, and English books, news and web text cut into pages. Batches of them go through
the four stages as in the fused chain; every stage sees every document. Our filters remember words and sentences of
earlier documents, which is part of their speed. So each third of the documents is timed after the filters have seen the
other two thirds; `cold` times each third with filters that have seen nothing. Figures are medians of the three, in
milliseconds a document, on one thread.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from bench.documents import crawled, english
from bench.harness import data_folder, print_json, print_row
from corpus.filters import c4, fineweb, gopher_quality, gopher_repetition, statistics
from corpus.run.chain import BATCH

PARTS = 3
OF_PEER = 100  # documents
Stages = dict[str, Callable[[str], Any]]


def main() -> None:
    texts = [*crawled(data_folder(), 2), *list(english(data_folder()))[::5]]
    parts = [texts[part::PARTS] for part in range(PARTS)]
    print(f"{len(texts)} documents of {sum(map(len, texts)) / len(texts):.0f} characters")
    warm = [
        timed(our_stages(), part, [text for other in parts if other is not part for text in other]) for part in parts
    ]
    cold = [sum(timed(our_stages(), part, []).values()) for part in parts]
    ours = {name: median(times[name] for times in warm) for name in warm[0]}
    few = parts[0][:: len(parts[0]) // OF_PEER][:OF_PEER]
    compared = timed(our_stages(), few, [*parts[1], *parts[2]])
    datatrove = timed(datatrove_stages(), few, few[:1])
    for name, value in compared.items():
        print_row(name, "ms/document", value, {"datatrove": datatrove[name]}, False)
    total, datatrove_total = sum(compared.values()), sum(datatrove.values())
    print_row("all four", "ms/document", total, {"datatrove": datatrove_total}, False)
    print(f"all documents: {sum(ours.values()):.3f} ms/document, without any seen before {median(cold):.3f}")
    if "--json" in sys.argv:
        ratio = {"quality_datatrove": datatrove_total / total}
        print_json("filters", ratio, ours | {"cold": median(cold)}, {"datatrove": datatrove})


def timed(stages: Stages, texts: Sequence[str], before: Sequence[str]) -> dict[str, float]:
    """Milliseconds a document of each stage, in batches, after the texts `before` have been through."""
    statistics.forget()
    for judge in stages.values():
        judge("Some words, so that everything that a text needs is loaded and compiled. And so on.")
        for text in before:
            judge(text)
    seconds = dict.fromkeys(stages, 0.0)
    for first in range(0, len(texts), BATCH):
        batch = texts[first : first + BATCH]
        for name, judge in stages.items():
            start = time.process_time()
            for text in batch:
                judge(text)
            seconds[name] += time.process_time() - start
    return {name: value / len(texts) * 1e3 for name, value in seconds.items()}


def our_stages() -> Stages:
    repetition, quality = gopher_repetition.Config(), gopher_quality.Config()
    cleaning, prose = c4.Config(), fineweb.Config()
    return {
        "gopher_repetition": lambda text: gopher_repetition.judge(text, None, repetition),
        "gopher_quality": lambda text: gopher_quality.judge(text, None, quality),
        "c4": lambda text: c4.clean(text, None, cleaning),
        "fineweb": lambda text: fineweb.judge(text, None, prose),
    }


def datatrove_stages() -> Stages:
    from datatrove.data import Document
    from datatrove.pipeline import filters

    stages = {
        "gopher_repetition": filters.GopherRepetitionFilter(),
        "gopher_quality": filters.GopherQualityFilter(),
        "c4": filters.C4QualityFilter(filter_no_terminal_punct=False),
        "fineweb": filters.FineWebQualityFilter(),
    }
    return {name: lambda text, stage=stage: stage.filter(Document(text=text, id="0")) for name, stage in stages.items()}


if __name__ == "__main__":
    main()
