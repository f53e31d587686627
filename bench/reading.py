"""`python -m bench.reading`: WARC files to decoded pages, beside warcio as datatrove's WarcReader uses it.

Both get the same bytes from memory and turn every response into text. The peer uses warcio's ArchiveIterator and
`content_stream().read()`; it decodes as UTF-8 if that is possible, and otherwise as charset-normalizer detects. Ours
and the peer take turns, each in a process of its own, in processor time; the ratio is the median of the ratios of the
turns, so that a busy machine slows both. FastWARC is shown as well if it is installed; it does not go on after damage.
"""

from __future__ import annotations

import io
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from bench.harness import data_folder, print_json
from corpus.text.charset import decode
from corpus.warc import inflate
from corpus.warc.pages import Page, read_pages

TURNS = 7


def pages_per_second(turns: int = TURNS) -> tuple[float, float]:
    """(ours, warcio): pages a processor second, read and decoded from the same bytes in the same run."""
    files = crawl()
    seconds = measured(files, {"ours": ours, "warcio": warcio}, turns)
    count = ours(files)
    return count / statistics.median(seconds["ours"]), count / statistics.median(seconds["warcio"])


def main() -> None:
    files = crawl()
    readers = {"ours": ours, "warcio": warcio} | ({"fastwarc": fastwarc} if _has_fastwarc() else {})
    counts = {name: reader(files) for name, reader in readers.items()}
    assert len(set(counts.values())) == 1, counts
    seconds_of = measured(files, readers, TURNS)
    backend = inflate.backend
    inflate.backend = inflate.BACKENDS["zlib"]
    with_zlib = measured(files, {"zlib": ours}, 3)["zlib"]
    inflate.backend = backend
    rate = {name: counts["ours"] / statistics.median(seconds) for name, seconds in seconds_of.items()}
    ratio = {
        name: statistics.median(peer / mine for peer, mine in zip(seconds_of[name], seconds_of["ours"], strict=True))
        for name in readers
        if name != "ours"
    }
    print(f"{counts['ours']:,} pages of {len(files)} WARC files, {backend.__name__}")
    shown = "  ".join(f"{name} {rate[name]:,.0f} ({ratio[name]:.2f}x)" for name in ratio)
    print(f"read and decode          ours {rate['ours']:,.0f} pages/s   {shown}")
    print(f"  without isal           ours {counts['ours'] / statistics.median(with_zlib):,.0f} pages/s")
    if "--json" in sys.argv:
        print_json(
            "reading",
            {"warcio": ratio["warcio"]},
            {"pages_per_second": rate["ours"]},
            {name: rate[name] for name in ratio},
        )


def crawl() -> list[bytes]:
    """The bytes of the six WARC files of real pages."""
    return [path.read_bytes() for path in sorted((data_folder() / "warc").glob("DEV-*.warc.gz"))]


def measured(
    files: list[bytes], readers: dict[str, Callable[[list[bytes]], int]], turns: int
) -> dict[str, list[float]]:
    """Processor seconds of each turn of each reader, each turn in a process of its own, after one run to warm up.

    In one process, a reader would have to work with the heap that another reader has left.
    """
    seconds: dict[str, list[float]] = {name: [] for name in readers}
    context = multiprocessing.get_context("fork")
    for _ in range(turns):
        for name, reader in readers.items():
            with context.Pool(1) as pool:
                seconds[name].append(pool.apply(_timed, (reader, files)))
    return seconds


def _timed(reader: Callable[[list[bytes]], int], files: list[bytes]) -> float:
    reader(files)
    began = time.process_time()
    reader(files)
    return time.process_time() - began


def ours(files: list[bytes]) -> int:
    count = 0
    for data in files:
        for item in read_pages(io.BytesIO(data), "bench"):
            if isinstance(item, Page):
                decode(item.html, item.charset)
                count += 1
            del item  # the peers' bodies are freed here too
    return count


def warcio(files: list[bytes]) -> int:
    from warcio.archiveiterator import ArchiveIterator

    count = 0
    for data in files:
        for record in ArchiveIterator(io.BytesIO(data)):
            if record.rec_type == "response":
                count += _guessed(record.content_stream().read()) is not None
    return count


def fastwarc(files: list[bytes]) -> int:
    from fastwarc.warc import ArchiveIterator, WarcRecordType

    count = 0
    for data in files:
        for record in ArchiveIterator(io.BytesIO(data), record_types=WarcRecordType.response):
            count += _guessed(record.reader.read()) is not None
    return count


def _guessed(body: bytes) -> Any:
    """The text as datatrove decodes it: as UTF-8, or as a detector says; "" if neither decodes."""
    from charset_normalizer import detect

    try:
        return body.decode("utf_8")
    except UnicodeDecodeError:
        pass
    try:
        return body.decode(detect(body[: 64 * 1024])["encoding"] or "latin_1")
    except (UnicodeDecodeError, LookupError):
        return ""


def _has_fastwarc() -> bool:
    try:
        import fastwarc.warc  # noqa: F401
    except ImportError:
        return False
    return True


if __name__ == "__main__":
    main()
