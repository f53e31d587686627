"""`python -m bench.filters`: the four quality rules on real documents, beside their naive twins and datatrove.

Documents are the pages of a crawl and English books, news and web text in pages. They go through the four stages in
batches, as in the fused chain, each stage over every document. What our filters remember of earlier documents is part
of their speed: a third of the documents is timed after the other two thirds were seen, three times over, each document
once. `cold` is the same without having seen any. The naive twins are the slow oracles of the tests. datatrove (with
spaCy) is measured where it is installed. Figures are milliseconds a document, on one thread, medians.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from bench.harness import data_folder, print_json, print_row
from corpus.filters import c4, fineweb, gopher_quality, gopher_repetition, statistics
from corpus.run.chain import BATCH
from tests.oracles import filters_naive as naive
from tests.support.filter_documents import crawled, english

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
    same = timed(our_stages(), few, [*parts[1], *parts[2]])
    peers = {"naive": timed(naive_stages(), few, [])}
    if importlib.util.find_spec("datatrove") and importlib.util.find_spec("spacy"):
        peers["datatrove"] = timed(datatrove_stages(), few, few[:1])
    for name, value in same.items():
        print_row(name, "ms/document", value, {peer: times[name] for peer, times in peers.items()}, False)
    total = sum(same.values())
    totals = {peer: sum(times.values()) for peer, times in peers.items()}
    print_row("all four", "ms/document", total, totals, False)
    print(f"all documents: {sum(ours.values()):.3f} ms/document, without any seen before {median(cold):.3f}")
    if "--json" in sys.argv:
        found = {"quality_datatrove" if peer == "datatrove" else peer: value / total for peer, value in totals.items()}
        print_json("filters", found, ours | {"cold": median(cold)}, peers)


def timed(stages: Stages, texts: Sequence[str], before: Sequence[str]) -> dict[str, float]:
    """Milliseconds a document of each stage, in batches, after the texts `before` have been through."""
    statistics.forget()
    for judge in stages.values():
        judge("A text of some words, so that all is loaded and compiled that will be needed. And so on.")
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


def naive_stages() -> Stages:
    repetition, quality = gopher_repetition.Config(), gopher_quality.Config()
    cleaning, prose = c4.Config(), fineweb.Config()
    return {
        "gopher_repetition": lambda text: naive.gopher_repetition_verdict(text, repetition),
        "gopher_quality": lambda text: naive.gopher_quality_verdict(text, None, quality),
        "c4": lambda text: naive.c4_text(text, cleaning),
        "fineweb": lambda text: naive.fineweb_verdict(text, prose),
    }


def datatrove_stages() -> Stages:
    from tests.oracles.filters_datatrove import stages

    return {name: judge for name, judge in stages().items() if name != "c4_terminal"}


if __name__ == "__main__":
    main()
