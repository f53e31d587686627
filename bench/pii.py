"""`python -m bench.pii`: masking of personal data, beside datatrove's PIIFormatter.

First equal work: e-mail and public IP addresses, which is all that datatrove masks (of IP only version 4), on the same
documents in the same process. Then ours with all types. Processor time, on one thread; figures are MB of UTF-8 a
second. `--quality` prints recall by group on the test set that bench/pii_texts makes.
"""

from __future__ import annotations

import itertools
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable

from bench import pii_texts
from bench.harness import data_folder, print_json, print_row, ratios, read_documents, utf8_bytes
from corpus.pii import scrub

SAMPLE = 16_000_000  # bytes
EQUAL, ALL = scrub.Config(types=("email", "ip")), scrub.Config()


def main() -> None:
    if "--quality" in sys.argv:
        quality()
        return
    sets = documents()
    ours: dict[str, float] = {}
    peers: dict[str, float] = {}
    for name, texts in sets.items():
        size = utf8_bytes(texts) / 1e6
        print(f"{name}: {len(texts)} documents, {size:.1f} MB")
        ours[name], peer, everything = measure(texts, [ours_masks(EQUAL), datatrove_masks(), ours_masks(ALL)], size)
        peers[name] = peer
        print_row("  email, ip", "MB/s", ours[name], {"datatrove": peer}, True)
        print_row("  all types", "MB/s", everything, {"datatrove": peer}, True)
        ours[f"{name}, all types"] = everything
    ratio = {"pii_datatrove": min(ratios(ours[name], {"_": peers[name]}, True)["_"] for name in sets)}
    print(f"pii_datatrove (the smallest): {ratio['pii_datatrove']:.2f}x")
    if "--json" in sys.argv:
        print_json("pii", ratio, ours, peers)


def documents() -> dict[str, list[str]]:
    """Web pages in German, English and other languages; English news."""
    import pyarrow.parquet as pq

    pages: list[str] = pq.read_table(data_folder() / "neardup/docs.parquet", columns=["text"])["text"].to_pylist()
    news = read_documents(data_folder() / "text/en_news_web.txt.gz")
    return {"web pages": _until(pages, SAMPLE), "news": _until(news, SAMPLE)}


def _until(texts: list[str], size: int) -> list[str]:
    """The first texts that have `size` bytes together."""
    ends = itertools.accumulate(len(text.encode()) for text in texts)
    return texts[: 1 + sum(end < size for end in ends)]


def measure(texts: list[str], masks: list[Callable[[str], str]], size: float) -> list[float]:
    """MB a second of each function, the median of three rounds in which they take turns."""
    seconds: list[list[float]] = [[] for _ in masks]
    for round_ in range(4):  # the first one warms up
        for mask, measured in zip(masks, seconds, strict=True):
            start = time.process_time()
            for text in texts:
                mask(text)
            if round_:
                measured.append(time.process_time() - start)
    return [size / statistics.median(measured) for measured in seconds]


def ours_masks(config: scrub.Config) -> Callable[[str], str]:
    def masked(text: str) -> str:
        spans = scrub.find(text, config)
        return scrub.mask(text, spans, config) if spans else text

    return masked


def datatrove_masks() -> Callable[[str], str]:
    from datatrove.pipeline.formatters.pii import PIIFormatter

    formatted: Callable[[str], str] = PIIFormatter().format
    return formatted


def quality() -> None:
    """Print by group the share of values that are found exactly, and the share that is at least touched."""
    cases: Counter[str] = Counter()
    exact: Counter[str] = Counter()
    touched: Counter[str] = Counter()
    for case in [*pii_texts.positives(), *pii_texts.national_phones(1, labelled=False)]:
        spans = scrub.find(case.text, ALL)
        cases[case.group] += 1
        exact[case.group] += (case.start, case.end, case.kind) in {(span.start, span.end, span.type) for span in spans}
        touched[case.group] += any(span.start < case.end and case.start < span.end for span in spans)
    for group in sorted(cases):
        count = cases[group]
        print(f"{group:<36}{count:>6} values  {exact[group] / count:.3f} exact  {touched[group] / count:.3f} touched")
    lines = pii_texts.negatives()
    wrong = [line for line in lines if scrub.find(line, ALL)]
    print(f"{'look-alikes':<36}{len(lines):>6} lines   {len(wrong) / len(lines):.3f} touched")


if __name__ == "__main__":
    main()
