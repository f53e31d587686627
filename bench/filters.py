"""`python -m bench.filters`: the four text filters on real documents, beside their naive twins and datatrove.

The naive twins are the slow oracles of the tests. datatrove (with spaCy) is measured where it is installed. Figures
are milliseconds a document, on one thread, with every stage over every document.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from typing import Any

from bench.harness import data_folder, median_seconds, print_json, print_row, ratios
from corpus.filters import c4, fineweb, gopher_quality, gopher_repetition
from tests.oracles import filters_naive as naive

SAMPLE = 100


def main() -> None:
    texts = sample()
    characters = sum(map(len, texts)) / len(texts)
    print(f"{len(texts)} documents of {characters:.0f} characters")
    ours = {name: milliseconds(judge, texts, 3) for name, judge in our_stages().items()}
    peers = {"naive": {name: milliseconds(judge, texts, 1) for name, judge in naive_stages().items()}}
    if importlib.util.find_spec("datatrove") and importlib.util.find_spec("spacy"):
        peers["datatrove"] = {name: milliseconds(judge, texts, 1) for name, judge in datatrove_stages().items()}
    for name, value in ours.items():
        print_row(name, "ms/document", value, {peer: times[name] for peer, times in peers.items()}, False)
    total = sum(ours.values())
    totals = {peer: sum(times.values()) for peer, times in peers.items()}
    print_row("all four", "ms/document", total, totals, False)
    if "--json" in sys.argv:
        print_json("filters", ratios(total, totals, False), ours, peers)


def sample() -> list[str]:
    """Texts from the whole of the near-duplicate set, evenly spaced."""
    import pyarrow.parquet as pq

    texts: list[str] = pq.read_table(data_folder() / "neardup/docs.parquet", columns=["text"])["text"].to_pylist()
    return texts[:: len(texts) // SAMPLE][:SAMPLE]


def milliseconds(judge: Callable[[str], Any], texts: list[str], repeats: int) -> float:
    return median_seconds(lambda: [judge(text) for text in texts], repeats, 1) / len(texts) * 1e3


def our_stages() -> dict[str, Callable[[str], Any]]:
    repetition, quality = gopher_repetition.Config(), gopher_quality.Config()
    cleaning, prose = c4.Config(), fineweb.Config()
    return {
        "gopher_repetition": lambda text: gopher_repetition.judge(text, None, repetition),
        "gopher_quality": lambda text: gopher_quality.judge(text, None, quality),
        "c4": lambda text: c4.clean(text, None, cleaning),
        "fineweb": lambda text: fineweb.judge(text, None, prose),
    }


def naive_stages() -> dict[str, Callable[[str], Any]]:
    repetition, quality = gopher_repetition.Config(), gopher_quality.Config()
    cleaning, prose = c4.Config(), fineweb.Config()
    return {
        "gopher_repetition": lambda text: naive.gopher_repetition_verdict(text, repetition),
        "gopher_quality": lambda text: naive.gopher_quality_verdict(text, None, quality),
        "c4": lambda text: naive.c4_text(text, cleaning),
        "fineweb": lambda text: naive.fineweb_verdict(text, prose),
    }


def datatrove_stages() -> dict[str, Callable[[str], Any]]:
    from datatrove.data import Document
    from datatrove.pipeline import filters

    stages = {
        "gopher_repetition": filters.GopherRepetitionFilter(),
        "gopher_quality": filters.GopherQualityFilter(),
        "c4": filters.C4QualityFilter(filter_no_terminal_punct=False),
        "fineweb": filters.FineWebQualityFilter(),
    }

    def judge(stage: Any) -> Callable[[str], Any]:
        return lambda text: stage.filter(Document(text=text, id="0"))

    return {name: judge(stage) for name, stage in stages.items()}


if __name__ == "__main__":
    main()
