"""`python -m bench.urls`: the URL filter beside datatrove's, with equal lists, on addresses and links of real pages.

The lists are those that datatrove carries: 4.6 million domains (UT1), 20,000 URLs, three lists of words. Each filter
runs in a process of its own, and times are processor time. Measured are

- URLs a second, from an Arrow column to the drops (datatrove: from its documents),
- the seconds until the lists are ready in one more worker, and
- the memory that they take there.

Ours makes its table once on each machine; the time for that is printed on a line of its own. Then the verdicts are
compared, and the differences are counted by their reason.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from bench.harness import data_folder, median_seconds, print_json, print_row, ratios

_LINK = re.compile(rb"<a\s[^>]*?href\s*=\s*[\"']([^\"'<>]{1,2000})", re.IGNORECASE)
REPEATS = 5


def main() -> None:
    if len(sys.argv) > 2 and sys.argv[1] in MEASURED:
        print(json.dumps(MEASURED[sys.argv[1]](Path(sys.argv[2]))))
        return
    missing = [name for name in ("datatrove", "tldextract", "ahocorasick", "fasteners") if not _installed(name)]
    if missing:
        sys.exit(f"bench.urls: {', '.join(missing)} not installed; pip install '.[bench]'")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        unpack_lists(folder)
        addresses = sorted(set(real_urls()))
        made_up = sorted(set(listed_urls(folder, addresses)))
        (folder / "urls.json").write_text(json.dumps({"real": addresses, "made_up": made_up}))
        os.environ |= {"XDG_CACHE_HOME": str(folder / "cache"), "HF_ASSETS_CACHE": str(folder / "assets")}
        first = measured("ours", folder)  # the table stays in the cache
        ours = measured("ours", folder)
        (folder / "ours.json").write_text(json.dumps(ours["verdicts"]))
        measured("unpack", folder)
        peer = measured("datatrove", folder)
    print(f"{len(addresses):,} different URLs; table made in {first['load']:.2f} s, {first['peak']:.0f} MB at most")
    report(ours, peer)


def report(ours: dict[str, Any], peer: dict[str, Any]) -> None:
    compared = {}
    for name, key, unit, more in (
        ("url_datatrove", "rate", "URLs/s", True),
        ("url_datatrove_load", "load", "s", False),
        ("url_datatrove_memory", "memory", "MB", False),
    ):
        print_row(name, unit, ours[key], {"datatrove": peer[key]}, more)
        compared |= {name: ratios(ours[key], {"datatrove": peer[key]}, more)["datatrove"]}
    print(f"of ours, memory of this process alone: {ours['private']:.1f} MB; one row: {ours['row']:.1f} us")
    for name, verdicts in ours["verdicts"].items():
        drops = Counter(verdict for verdict in verdicts if verdict)
        print(f"{name}: {len(verdicts):,} URLs, {sum(drops.values()):,} dropped: {dict(drops)}")
        print(f"  verdicts that differ, by reason: {peer['reasons'][name] or 'none'}")
    if "--json" in sys.argv:
        print_json("urls", compared, {key: ours[key] for key in ours if key != "verdicts"}, peer)


def real_urls() -> Iterator[str]:
    """The addresses of the pages in the test data, and of what they link to."""
    from warcio import ArchiveIterator

    for path in sorted((data_folder() / "warc").glob("*.warc.gz")):
        with path.open("rb") as file:
            for record in ArchiveIterator(file):
                if record.rec_type == "response":
                    target = record.rec_headers["WARC-Target-URI"]
                    yield target
                    for link in _LINK.findall(record.content_stream().read()):
                        yield from joined(target, link.decode("utf-8", "replace"))


def joined(page: str, link: str) -> Iterator[str]:
    try:
        address = urljoin(page, link.strip().replace("&amp;", "&"))
    except ValueError:
        return
    if address.startswith(("http://", "https://")) and not any(ord(c) <= 32 for c in address):
        yield address


def listed_urls(folder: Path, addresses: list[str]) -> Iterator[str]:
    """Addresses that the lists block, and some that they just do not block, as they may stand in a crawl."""
    random = Random(0)
    with (folder / "ut1/domains").open() as file:
        domains = random.sample([line.strip() for line in file], 4000)
    pages = random.sample((folder / "ut1/urls").read_text().split("\n"), 2000)
    for domain in domains:
        path = urlsplit(random.choice(addresses)).path
        yield f"http://{random.choice(('', 'www.', 'a.b.', 'no-'))}{domain}{path}"
    for page in pages:
        yield f"https://{random.choice(('', 'www.'))}{page}{random.choice(('', '/', '#top', 'x'))}"
    for name in ("banned_words", "banned_subwords", "soft_banned_words"):
        for word in (folder / f"{name}.txt").read_text().split("\n"):
            for shape in (word, word.title(), f"a{word}b", f"%20{word}%20", f"{word}/{word}", f"{word}/ass-tits"):
                yield f"https://example.org/{shape.replace(' ', '-')}"


def unpack_lists(folder: Path) -> None:
    import datatrove.pipeline.filters.url_filter as peer

    with tarfile.open(Path(peer.ASSETS_PATH, "url_filterblacklistsv0_3_0.tar.gz")) as archive:
        archive.extractall(folder / "ut1", filter="data")
    for name in ("banned_words", "banned_subwords", "soft_banned_words"):
        (folder / f"{name}.txt").write_text(Path(peer.ASSETS_PATH, f"{name}.txt").read_text())


def measured(name: str, folder: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.urls", name, str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def measure_ours(folder: Path) -> dict[str, Any]:
    import pyarrow as pa

    from corpus.filters import urls

    groups = json.loads((folder / "urls.json").read_text())
    addresses = groups["real"]
    words = {"hard_words": "banned_words", "soft_words": "soft_banned_words", "subwords": "banned_subwords"}
    config = urls.Config(
        blocklist=(str(folder / "ut1"),), **{name: str(folder / f"{file}.txt") for name, file in words.items()}
    )
    batch = columns(addresses)
    urls.process(batch.slice(0, 100), urls.Config())  # kernels are compiled, or found
    before = memory()
    load = processor_time(lambda: urls.process(batch.slice(0, 0), config))
    grown = {name: value - before[name] for name, value in memory().items()}
    verdicts = {}
    for name, group in groups.items():
        dropped = urls.process(columns(group), config).dropped
        rules = dict(zip(dropped.column("id").to_pylist(), dropped.column("rule").to_pylist(), strict=True))
        verdicts[name] = [rules.get(url, "").removeprefix("urls.") for url in group]
    one = [batch.slice(row, 1) for row in range(min(2000, len(addresses)))]
    row = median_time(lambda: [urls.process(single, config) for single in one]) / len(one)
    large = pa.Table.from_batches([batch] * max(1, 200_000 // len(addresses))).combine_chunks().to_batches()[0]
    return {
        "load": load,
        "memory": grown["rss"],
        "private": grown["rss"] - grown["shared"],
        "peak": grown["peak"],
        "rate": large.num_rows / median_time(lambda: urls.process(large, config)),
        "row": row * 1e6,
        "verdicts": verdicts,
    }


def columns(addresses: list[str]) -> Any:
    import pyarrow as pa

    return pa.record_batch({"id": pa.array(addresses, pa.string()), "url": pa.array(addresses, pa.string())})


# datatrove's reasons under our names.
_REASONS = {
    "domain": "domain",
    "subdomain": "domain",
    "url": "url",
    "hard_blacklisted": "hard_word",
    "soft_blacklisted": "soft_words",
    "blacklisted_subword": "subword",
}


def measure_datatrove(folder: Path) -> dict[str, Any]:
    from datatrove.data import Document

    groups = json.loads((folder / "urls.json").read_text())
    few = groups["real"][:: max(1, len(groups["real"]) // 5000)]
    documents = [Document(text="", id="", metadata={"url": url}) for url in few]
    stage = datatrove_filter()
    stage.tldextractor("http://example.org")  # reads the list of public suffixes
    before = memory()
    load = processor_time(stage.download_data)
    grown = memory()["rss"] - before["rss"]
    reasons: dict[str, Counter[str]] = {}
    for name, ours in json.loads((folder / "ours.json").read_text()).items():
        reasons[name] = Counter()
        for url, verdict in zip(groups[name], ours, strict=True):
            theirs = datatrove_verdict(stage, url)
            if theirs != verdict:
                reasons[name][reason_of(stage, url, verdict, theirs)] += 1
    rate = len(few) / median_time(lambda: [stage.filter(document) for document in documents])
    return {"load": load, "memory": grown, "rate": rate, "reasons": reasons}


def unpack_datatrove(folder: Path) -> dict[str, Any]:
    """datatrove unpacks an archive of lists at the first use on a machine: this is not counted."""
    datatrove_filter().download_data()
    return {}


def datatrove_filter() -> Any:
    from datatrove.pipeline.filters import URLFilter
    from tldextract import TLDExtract

    stage = URLFilter()
    # The copy of the list of public suffixes that tldextract carries, instead of the network.
    stage.tldextractor = TLDExtract(suffix_list_urls=(), cache_dir=None)
    return stage


def datatrove_verdict(stage: Any, url: str) -> str:
    from datatrove.data import Document

    verdict = stage.filter(Document(text="", id="", metadata={"url": url}))
    return "" if verdict is True else _REASONS[verdict[1]]


def reason_of(stage: Any, url: str, ours: str, theirs: str) -> str:
    """Why the verdicts on a URL differ: what datatrove's filter overlooks or misreads."""
    rest = url.partition("://")[2]
    parts = stage.tldextractor(url)
    if ours == "invalid":
        return "no web address"
    if ours == "url":
        return "its URLs have schemes, those of the list have none"
    if ours == "domain" and theirs != "domain":
        return "a domain between host and registered domain is listed"
    if theirs == "domain":
        return "a public suffix is listed" if not parts.registered_domain or parts.suffix in url else "unexplained"
    for reason, changed in (
        ("case", url.lower()),
        ("escapes", unquote(url)),
        ("case and escapes", unquote(url).lower()),
        ("letters of the scheme run into the host's", f"http://0{rest}"),
    ):
        if datatrove_verdict(stage, changed) == ours:
            return reason
    return f"unexplained: {theirs or 'kept'}, ours {ours or 'kept'}: {url}"


def memory() -> dict[str, float]:
    """Memory of this process in MB: resident, the resident part that belongs to shared files, and the peak."""
    fields = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    names = {"rss": "VmRSS", "shared": "RssFile", "peak": "VmHWM"}
    return {name: int(fields[field].split()[0]) * 1024 / 1e6 for name, field in names.items()}


def processor_time(call: Callable[[], Any]) -> float:
    return median_seconds(call, 1, 0, time.process_time)


def median_time(call: Callable[[], Any]) -> float:
    return median_seconds(call, REPEATS, 1, time.process_time)


def _installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


MEASURED = {"ours": measure_ours, "unpack": unpack_datatrove, "datatrove": measure_datatrove}


if __name__ == "__main__":
    main()
