"""The whole pipeline beside datatrove's: `python -m bench.pipeline [--pages N] [--datatrove-python PATH] [--json]`.

Input: WARC files of real pages. Output: documents that passed FineWeb's filters, deduplicated, with personal data
masked. Ours is what a user types: `corpus run` with recipes/fineweb.toml, without the vocabulary, with one worker.
datatrove's recipe is in bench/datatrove_fineweb.py. Both block by the lists that datatrove carries (4.6 million
domains, and its words).

Every run is a new process, so the start of the interpreter, imports, models and lists count. The time is the processor
time of the process and all its children, on one core. The sides take turns; figures are medians of `--repeats` runs.
`wall` ratios, which have no floor, are of the clock; they are equal to the others if nothing else runs on the machine.

`datatrove` runs in this environment, with our trafilatura. `datatrove_pinned` runs with the interpreter that
--datatrove-python names, whose environment has a trafilatura as old as datatrove asks for (< 1.12):

    python -m venv dt && dt/bin/pip install 'datatrove[io,processing]==0.10.1' spacy requests aiohttp lxml_html_clean

Before the timed runs, both sides go through all pages once and record what becomes of each. Every page that only one
side keeps is printed with stage and rule of both sides and the cause: HTML decoded differently, another text from the
same HTML, or another verdict on the same text.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import importlib.util
import json
import os
import re
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from bench.harness import data_folder, print_json, print_row, ratios

REPOSITORY = Path(__file__).parent.parent
KEPT = ("kept", "")
# What datatrove_fineweb imports, by module, and the package to install for it.
NEEDED = {
    "datatrove": "datatrove==0.10.1",
    "spacy": "spacy",
    "warcio": "warcio",
    "cchardet": "faust-cchardet",
    "magic": "python-magic",
    "tldextract": "tldextract",
    "ahocorasick": "pyahocorasick",
    "fasteners": "fasteners",
    "orjson": "orjson",
    "fasttext": "fasttext-numpy2-wheel",
    "trafilatura": "trafilatura",
}


class Cost(NamedTuple):
    """What a process and all its children cost."""

    processor: float  # seconds, user and system
    wall: float  # seconds
    memory: int  # MiB of the largest process


@dataclass
class Page:
    """What one side made of a page: `outcome` is (stage, rule), KEPT before deduplication."""

    outcome: tuple[str, str] = ("", "")
    html: str = ""  # hash of the decoded HTML, "" if the page was dropped before
    text: str = ""  # hash of the extracted text
    result: str = ""  # hash of the kept text


@dataclass
class Side:
    """A pipeline that is measured."""

    name: str
    command: list[str]  # without --output and --trace
    trafilatura: str
    costs: list[Cost] = field(default_factory=list)
    pages: dict[str, Page] = field(default_factory=dict)
    clean: set[str] = field(default_factory=set)

    def median(self, what: str) -> float:
        return statistics.median(getattr(cost, what) for cost in self.costs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, help="the first pages only, for a quick look (default: all)")
    parser.add_argument("--repeats", type=int, default=3, help="timed runs of each side (default 3)")
    parser.add_argument("--datatrove-python", metavar="PATH", help="interpreter with datatrove's own pinned packages")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    interpreters = {"datatrove": sys.executable}
    if arguments.datatrove_python:
        interpreters["datatrove_pinned"] = arguments.datatrove_python
    versions = {name: check_interpreter(python) for name, python in interpreters.items()}
    one_core()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["HF_ASSETS_CACHE"] = str(folder / "assets")  # where datatrove unpacks its lists, once
        pages = copy_warcs(folder / "crawl", arguments.pages)
        recipe = write_recipe(folder)
        peers = [
            Side(name, datatrove_command(python, folder / "crawl"), versions[name])
            for name, python in interpreters.items()
        ]
        ours = Side("ours", our_command(recipe, folder / "crawl"), versions["datatrove"])
        print(f"{len(pages)} pages", flush=True)
        trace_ours(ours, pages, folder)
        for peer in peers:
            trace_datatrove(peer, pages, folder)
            print_agreement(ours, peer)
        print(flush=True)
        for number in range(arguments.repeats):
            for side in (ours, *peers):
                cost = run([*side.command, "--output", str(folder / f"{side.name}-{number}")])
                side.costs.append(cost)
                print(f"{side.name}: {cost.processor:.1f} processor seconds, {cost.wall:.1f} s", flush=True)
        report(ours, peers, len(pages), arguments.json)


def check_interpreter(python: str) -> str:
    """The version of its trafilatura. Exits with one line if it cannot run datatrove's recipe."""
    code = (
        "import importlib.util as u, importlib.metadata as m, sys\n"
        "print(*[name for name in sys.argv[1:] if not u.find_spec(name)])\n"
        "print(m.version('trafilatura') if u.find_spec('trafilatura') else '')"
    )
    try:
        done = subprocess.run([python, "-c", code, *NEEDED], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"{python}: does not run ({error}); --datatrove-python should name a Python interpreter")
    missing, version = done.stdout.split("\n")[:2]
    if missing:
        packages = " ".join(NEEDED[name] for name in missing.split())
        sys.exit(f"{python}: cannot run datatrove's recipe without {missing}: {python} -m pip install {packages}")
    return version


def one_core() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def copy_warcs(folder: Path, limit: int | None) -> dict[str, str]:
    """Make the folder of WARC files for both sides; id -> hash of the HTML as we decode it, for every page."""
    from corpus.text.charset import decode_html
    from corpus.warc.pages import Page as WarcPage
    from corpus.warc.pages import read_pages

    folder.mkdir()
    hashes: dict[str, str] = {}
    for path in sorted((data_folder() / "warc").glob("DEV-*.warc.gz")):
        end = 0
        with path.open("rb") as file:
            for item in read_pages(file, path.name):
                if limit is not None and len(hashes) >= limit:
                    break
                hashes[item.id] = digest(decode_html(item.html, item.charset)) if isinstance(item, WarcPage) else ""
                end = item.warc_offset + item.warc_length
        if end:
            (folder / path.name).write_bytes(path.read_bytes()[: end if limit is not None else None])
    return hashes


def write_recipe(folder: Path) -> Path:
    """FineWeb's recipe without the vocabulary, with datatrove's lists."""
    spec = importlib.util.find_spec("datatrove")
    assert spec
    assert spec.origin
    assets = Path(spec.origin).parent / "assets"
    with tarfile.open(next(assets.glob("url_filterblacklists*.tar.gz"))) as tar:
        tar.extractall(folder / "lists", filter="data")
    lists = {
        "blocklist": [str(folder / "lists")],
        "hard_words": str(assets / "banned_words.txt"),
        "soft_words": str(assets / "soft_banned_words.txt"),
        "subwords": str(assets / "banned_subwords.txt"),
    }
    settings = "\n".join(f"{name} = {json.dumps(value)}" for name, value in lists.items())
    text = (REPOSITORY / "recipes/fineweb.toml").read_text().partition("[tokenizer]")[0]
    text, tables = re.subn(r"(?m)^\[urls\].*$", lambda table: f"{table[0]}\n{settings}", text)
    assert tables == 1
    path = folder / "fineweb.toml"
    path.write_text(text)
    extract_only = folder / "extract.toml"  # texts of all pages, whatever becomes of them, for the trace
    extract_only.write_text('name = "extract"\n[extract]\nfavor = "precision"\ncount_retries = true\n')
    return path


def our_command(recipe: Path, crawl: Path) -> list[str]:
    return [sys.executable, "-m", "corpus", "run", str(recipe), "--input", str(crawl), "--workers", "1"]


def datatrove_command(python: str, crawl: Path) -> list[str]:
    from corpus.language.stage import find_model

    model = str(find_model(None))
    return [python, "-m", "bench.datatrove_fineweb", "--input", str(crawl), "--model", model]


def run(command: list[str]) -> Cost:
    """Run a command to its end. Exits with its last lines if it fails."""
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, cwd=REPOSITORY, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            sys.exit(f"{' '.join(command)}: exit code {process.returncode}\n{output.read()[-2000:]}")
    return Cost(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss >> 10)


def trace_ours(side: Side, pages: dict[str, str], folder: Path) -> None:
    from corpus.store.shards import Dataset

    output = folder / "ours-trace"
    run([*side.command, "--output", str(output)])
    side.pages = {name: Page(html=html) for name, html in pages.items()}
    for row in rows(Dataset(output / "documents"), "dropped"):
        side.pages[row["id"]].outcome = (row["stage"], row["rule"].partition(".")[2])
    for row in rows(Dataset(output / "documents"), "documents"):
        side.pages[row["id"]].outcome = KEPT
        side.pages[row["id"]].result = digest(row["text"])
    side.clean = {row["id"] for row in rows(Dataset(output / "clean"), "documents")}
    extracted = folder / "ours-extracted"
    run([*our_command(folder / "extract.toml", folder / "crawl"), "--output", str(extracted)])
    for row in rows(Dataset(extracted / "clean"), "documents"):
        side.pages[row["id"]].text = digest(row["text"])


def rows(dataset: Any, kind: str) -> list[dict[str, Any]]:
    return [row for output in dataset.files(kind) for row in dataset.table(output).to_pylist()]


def trace_datatrove(side: Side, pages: dict[str, str], folder: Path) -> None:
    output = folder / f"{side.name}-trace"
    run([*side.command, "--output", str(output), "--trace"])
    side.pages = {name: Page(outcome=("warc", "not read")) for name in pages}
    for line in (output / "trace.jsonl").read_text().splitlines():
        row = json.loads(line)
        outcome = (row["stage"], row["reason"]) if "stage" in row else KEPT
        side.pages[row["id"]] = Page(outcome, row["html"], row.get("text", ""))
    for row in json_lines(output / "filtered"):
        side.pages[row["id"]].result = digest(row["text"])
    side.clean = {row["id"] for row in json_lines(output / "clean")}


def json_lines(folder: Path) -> list[dict[str, Any]]:
    rows = []
    for path in sorted(folder.glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            rows += [json.loads(line) for line in file]
    return rows


def digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def print_agreement(ours: Side, peer: Side) -> None:
    """Print how many pages each side keeps, and every page that only one side keeps."""
    kept = [{name for name, page in side.pages.items() if page.outcome == KEPT} for side in (ours, peer)]
    both = kept[0] & kept[1]
    same = sum(ours.pages[name].result == peer.pages[name].result for name in both)
    print(f"\n{peer.name} (trafilatura {peer.trafilatura}; ours {ours.trafilatura})")
    print(f"  before deduplication: ours {len(kept[0])}, theirs {len(kept[1])}, both {len(both)}, of equal text {same}")
    clean = len(ours.clean & peer.clean)
    print(f"  after deduplication:  ours {len(ours.clean)}, theirs {len(peer.clean)}, both {clean}")
    elsewhere = [name for name, page in ours.pages.items() if page.outcome[0] != peer.pages[name].outcome[0]]
    alike = len(ours.pages) - len(elsewhere)
    print(f"  dropped by the same stage, or kept by both: {alike} of {len(ours.pages)} pages")
    for name in sorted(kept[0] ^ kept[1]):
        outcomes = [" ".join(side.pages[name].outcome).strip() for side in (ours, peer)]
        print(f"  {name}: ours {outcomes[0]}, theirs {outcomes[1]}: {cause(ours, peer, name)}")
    for why, count in Counter(cause(ours, peer, name) for name in elsewhere).most_common():
        print(f"  {count} pages end in another stage: {why}")
    sys.stdout.flush()


def cause(ours: Side, peer: Side, name: str) -> str:
    """Why the outcomes of a page differ: the first step with different results."""
    mine, theirs = ours.pages[name], peer.pages[name]
    if "urls" in (mine.outcome[0], theirs.outcome[0]):
        return "rules of URLs"
    if mine.outcome[0] == "prescreen":
        return "pre-screen of languages, before the extraction"
    if mine.html != theirs.html:
        return "HTML decoded differently" if theirs.html else "not decoded by datatrove"
    if mine.text != theirs.text:
        if ours.trafilatura != peer.trafilatura:
            return f"other text from the same HTML (trafilatura {ours.trafilatura} and {peer.trafilatura})"
        return "other text from the same HTML (trafilatura's memory: ours of this page, datatrove's of all before it)"
    return "another verdict on the same text"


def report(ours: Side, peers: list[Side], pages: int, as_json: bool) -> None:
    print()
    for side in (ours, *peers):
        seconds, wall, memory = (side.median(what) for what in ("processor", "wall", "memory"))
        print(
            f"{side.name:<17} {seconds:6.1f} processor seconds, {wall:6.1f} s, {pages / seconds:5.1f} pages/s, "
            f"largest process {memory:.0f} MiB"
        )
    theirs = {peer.name: pages / peer.median("processor") for peer in peers}
    by_clock = {f"{peer.name}.wall": pages / peer.median("wall") for peer in peers}
    print_row("WARC -> clean", "pages/s", pages / ours.median("processor"), theirs, True)
    if as_json:
        compared = ratios(pages / ours.median("processor"), theirs, True)
        compared |= ratios(pages / ours.median("wall"), by_clock, True)
        print_json("pipeline", compared, {"pages_per_second": pages / ours.median("processor")}, theirs)


if __name__ == "__main__":
    main()
