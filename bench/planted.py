"""A corpus of documents as long as web pages, with planted duplicates of every kind that a deduplicator has to handle.

Input: the shared text. Output: a dataset of DOCUMENTS in several shards, 4 to 5 KB a document. The documents are
recombined sentences (bench/recombine.py) cut at log-normal lengths, and some hundred real multilingual texts and source
files. All are in scripts with spaces between words: in other scripts it is a matter of definition how similar two texts
are. Copies of some documents are edited until they have about the similarity that was drawn: near-duplicate pairs,
exact copies, clusters, chains whose ends are not similar, and one large cluster filled from a template. bench/truth.py
computes the similarities exactly. The same seed makes the same bytes.
"""

from __future__ import annotations

import itertools
import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.harness import data_folder, read_documents
from bench.recombine import recombined
from corpus.schema import DOCUMENTS
from corpus.store.records import CommitRecord
from corpus.store.shards import Dataset, ShardWriter

DUMP = "CC-MAIN-2026-43"
TEXT_BYTES = 3_100  # median; log-normal of SIGMA, so that the mean is 1.6 times that
SIGMA = 1.0
SHORTEST, LONGEST = 250, 100_000
BOILERPLATE = 200_000  # words of menus and notices that are put around pages
TEMPLATE_WORDS, TEMPLATE_SLOTS = 500, 40

# Numbers in a corpus of 52,000 documents; a smaller corpus has proportionally fewer.
PAIRS, EXACT, CLUSTERS, CHAINS, TEMPLATE = 6_500, 2_600, 250, 200, 2_000
_WHOLE = 52_000

_PIECE = re.compile(r"\S+\s*")
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]"
)  # Thai to Han
_SENTENCE_ENDS = np.frombuffer(b".!?", np.uint8)

Random = np.random.Generator
Edit = Callable[[list[str], float, Random, list[str]], list[str]]


class Planted(NamedTuple):
    """The documents in the order of their rows, and where each came from."""

    texts: list[str]
    kinds: list[str]  # "base", or how it was made
    parents: list[int]  # the row that it is an edited copy of, -1 for none


def write_corpus(folder: Path, documents: int = _WHOLE, shards: int = 8, seed: int = 0) -> Planted:
    """Make `documents` documents and write them as a committed dataset; returns them."""
    planted = make_documents(documents, seed)
    write_dataset(folder, planted.texts, shards, seed)
    return planted


def write_dataset(folder: Path, texts: list[str], shards: int = 8, seed: int = 0) -> None:
    """Texts as a committed dataset of DOCUMENTS, in that order."""
    dataset = Dataset(folder)
    digest = dataset.begin({"planted": {"documents": len(texts), "shards": shards, "seed": seed}})
    bounds = np.linspace(0, len(texts), shards + 1).astype(int).tolist()
    for shard, (start, stop) in enumerate(itertools.pairwise(bounds)):
        unit = f"CC-MAIN-20261021093412-20261021123412-{shard:05d}"
        with dataset.storage.scratch() as scratch:
            writer = ShardWriter(scratch / "documents.parquet", DOCUMENTS)
            for batch in _rows(texts[start:stop], unit, np.random.default_rng([seed, 1, shard])).to_batches():
                writer.write(batch)
            writer.close()
            output = writer.output(unit, "documents")
            count = {"stage": "planted", "read": stop - start, "kept": stop - start, "dropped": {}}
            dataset.commit(CommitRecord(unit, "planted", digest, (), (output,), (count,)), [writer.path])


def make_documents(documents: int = _WHOLE, seed: int = 0) -> Planted:
    """Originals and their edited copies, shuffled."""
    random = np.random.default_rng([seed, 0])
    copies, scale = [], documents / _WHOLE
    wanted = _plan(scale, random)
    template = round(TEMPLATE * scale)
    stream = _pages(seed, random)
    boilerplate = _boilerplate(stream)
    foreign = _texts("mixed_multilingual_code.jsonl.gz")[: documents // 100]
    originals = documents - template - sum(len(parents) for _, parents in wanted) - len(foreign)
    texts = [next(stream) for _ in range(originals)]
    parents = iter(random.permutation([row for row, text in enumerate(texts) if len(text) >= 2 * SHORTEST]).tolist())
    for kind, targets in wanted:
        row = next(parents)
        for similarity in targets:
            copies.append((kind, row, _copy(kind, texts[row], similarity, random, boilerplate)))
            texts.append(copies[-1][2])
            row = len(texts) - 1 if kind == "chain" else row
    pages = _from_template(template, random, boilerplate)
    everything = texts + foreign + pages
    kinds = ["base"] * originals + [kind for kind, _, _ in copies] + ["base"] * len(foreign) + ["template"] * template
    origins = [-1] * originals + [row for _, row, _ in copies] + [-1] * (len(foreign) + template)
    order = random.permutation(documents)
    place = np.append(np.argsort(order), -1)
    return Planted(
        [everything[old] for old in order],
        [kinds[old] for old in order],
        [int(place[origins[old]]) for old in order],
    )


def _plan(scale: float, random: Random) -> list[tuple[str, list[float]]]:
    """(kind, the similarities of the copies of one document) for each document that has copies.

    The copies of a cluster are copies of its first document, as mirrors are. Each copy of a chain is one of the copy
    before it.
    """
    styles = itertools.islice(itertools.cycle(EDITS), round(PAIRS * scale))
    plan = [(style, [random.uniform(0.5, 1)]) for style in styles]
    plan += [("exact", [1.0]) for _ in range(round(EXACT * scale))]
    for _ in range(round(CLUSTERS * scale)):
        plan.append(("cluster", random.uniform(0.85, 1, random.integers(2, 13)).tolist()))
    for _ in range(round(CHAINS * scale)):
        plan.append(("chain", random.uniform(0.78, 0.86, 2).tolist()))
    return plan


def _copy(kind: str, text: str, similarity: float, random: Random, boilerplate: list[str]) -> str:
    if kind == "exact":
        return _same_words(text, random)
    name = kind if kind in EDITS else ("replaced", "deleted", "framed")[random.integers(3)]
    return "".join(EDITS[name](_PIECE.findall(text), similarity, random, boilerplate)).strip()


def _same_words(text: str, random: Random) -> str:
    """The text unchanged, or with other white space or in upper case, which the similarity ignores."""
    way = random.integers(5)
    if way == 0:
        return "\n\n".join(line.strip() for line in text.splitlines() if line.strip())
    if way == 1:
        return " ".join(text.split())
    if way == 2:
        return "".join(c.upper() if "a" <= c <= "z" else c for c in text)
    return text


# Each edit takes the words of a document with the white space after them and aims at a similarity J. With n n-grams
# of w words, replacing a word takes w of them and adds w: k apart make J = (n - wk) / (n + wk). A deletion adds w - 1,
# a cut between two words that are not neighbours any more takes and adds w - 1.


def _replaced(pieces: list[str], similarity: float, random: Random, boilerplate: list[str]) -> list[str]:
    count = _edits(len(pieces), similarity, 5, 5)
    for place in random.choice(len(pieces), count, replace=False):
        pieces[place] = boilerplate[random.integers(len(boilerplate))]
    return pieces


def _deleted(pieces: list[str], similarity: float, random: Random, boilerplate: list[str]) -> list[str]:
    gone = set(random.choice(len(pieces), _edits(len(pieces), similarity, 5, 4), replace=False).tolist())
    return [piece for place, piece in enumerate(pieces) if place not in gone]


def _shuffled(pieces: list[str], similarity: float, random: Random, boilerplate: list[str]) -> list[str]:
    """Sentences in another order, in blocks of several."""
    ends = [place + 1 for place, piece in enumerate(pieces[:-1]) if piece.rstrip()[-1:] in ".!?"]
    count = min(_edits(len(pieces), similarity, 4, 4), len(ends))
    cuts = [0, *sorted(random.choice(ends, count, replace=False).tolist() if count else []), len(pieces)]
    blocks = [pieces[start:stop] for start, stop in itertools.pairwise(cuts)]
    blocks[-1][-1] += " "
    return [piece for block in random.permutation(len(blocks)) for piece in blocks[block]]


def _framed(pieces: list[str], similarity: float, random: Random, boilerplate: list[str]) -> list[str]:
    """Boilerplate before it and after it."""
    words = round(len(pieces) * (1 - similarity) / similarity)
    start = random.integers(len(boilerplate) - words)
    before = random.integers(words + 1)
    pieces[-1] += " "
    return [*boilerplate[start : start + before], *pieces, *boilerplate[start + before : start + words]]


def _truncated(pieces: list[str], similarity: float, random: Random, boilerplate: list[str]) -> list[str]:
    return pieces[: max(1, round(len(pieces) * similarity))]


def _respelled(pieces: list[str], similarity: float, random: Random, boilerplate: list[str]) -> list[str]:
    """Other case throughout; punctuation put at some words, or taken away, which makes other words of them."""
    for place in random.choice(len(pieces), _edits(len(pieces), similarity, 5, 5), replace=False):
        word = pieces[place].rstrip()
        bare = word.strip(".,;:!?\"'()")
        mark = (",", ";", "!", "...", '"')[random.integers(5)]
        pieces[place] = (bare if bare and bare != word else word + mark) + pieces[place][len(word) :]
    return [piece.title() if random.random() < 0.1 else piece for piece in pieces]


EDITS: dict[str, Edit] = {
    "replaced": _replaced,
    "deleted": _deleted,
    "shuffled": _shuffled,
    "framed": _framed,
    "truncated": _truncated,
    "respelled": _respelled,
}


def _edits(words: int, similarity: float, taken: int, added: int) -> int:
    """The number k of edits for which (n - taken k) / (n + added k) = similarity."""
    return max(1, min(words // 2, round((words - 4) * (1 - similarity) / (taken + added * similarity))))


def _from_template(documents: int, random: Random, boilerplate: list[str]) -> list[str]:
    """Pages from one template: each page has words or numbers of its own in some of the slots."""
    template = boilerplate[:TEMPLATE_WORDS]
    slots = np.linspace(6, TEMPLATE_WORDS - 6, TEMPLATE_SLOTS).astype(int)
    pages = []
    for _ in range(documents):
        page = list(template)
        for slot in random.choice(slots, random.integers(1, 10), replace=False):
            numbered = random.random() < 0.5
            page[slot] = (
                f"{random.integers(1, 10_000)} " if numbered else boilerplate[random.integers(len(boilerplate))]
            )
        pages.append("".join(page).strip())
    return pages


def _boilerplate(stream: Iterator[str]) -> list[str]:
    """BOILERPLATE words, from pages that are used for nothing else."""
    pieces: list[str] = []
    while len(pieces) < BOILERPLATE:
        pieces += [*_PIECE.findall(next(stream)), "\n"]
    return [piece for piece in pieces if piece.strip()]


def _pages(seed: int, random: Random) -> Iterator[str]:
    """An endless stream of documents: recombined text, cut after the sentence that reaches a log-normal length."""
    sources = _texts("en_gutenberg.txt.gz") + _texts("en_news_web.txt.gz") + _pages_and_reviews()
    for round_ in recombined([text.strip() + "\n\n" for text in sources], seed):
        content = np.frombuffer(round_.buffers()[2], np.uint8)
        ends = np.flatnonzero(np.isin(content[:-1], _SENTENCE_ENDS) & (content[1:] <= 32)) + 1
        sizes = np.exp(random.normal(np.log(TEXT_BYTES), SIGMA, len(content) // 1000)).clip(SHORTEST, LONGEST)
        targets = np.cumsum(sizes.astype(np.int64))
        cuts = np.unique(ends[np.searchsorted(ends, targets[targets < ends[-1]])]).tolist()
        for start, stop in zip([0, *cuts], cuts, strict=False):
            text = content[start:stop].tobytes().decode().strip()
            if len(text) >= SHORTEST // 2:
                yield text


def _texts(name: str) -> list[str]:
    return [text for text in read_documents(data_folder() / "text" / name) if not _UNSPACED.search(text)]


def _pages_and_reviews() -> list[str]:
    """The near-duplicates' originals, each once."""
    folder = data_folder() / "neardup"
    kinds = pq.read_table(folder / "truth.parquet", columns=["kind"])["kind"].to_pylist()
    texts = pq.read_table(folder / "docs.parquet", columns=["text"])["text"].to_pylist()
    return [text for text, kind in zip(texts, kinds, strict=True) if kind == "base" and not _UNSPACED.search(text)]


def _rows(texts: list[str], unit: str, random: Random) -> pa.Table:
    """DOCUMENTS with the columns that pages of one WARC file would have."""
    count = len(texts)
    ids = [f"<urn:uuid:{uuid.UUID(bytes=random.bytes(16), version=4)}>" for _ in range(count)]
    lengths = np.array([len(text) for text in texts]) * 2 + random.integers(500, 20_000, count)
    hosts, seconds = random.zipf(1.4, count).clip(1, 50_000), np.sort(random.integers(0, 10_800, count))
    start = np.datetime64("2026-10-21T09:34:12")
    columns = {
        "text": pa.array(texts, pa.string()),
        "id": pa.array(ids, pa.string()),
        "dump": pa.array([DUMP] * count, pa.string()),
        "url": pa.array(
            [f"https://www.site{host}.example/page/{one[10:18]}" for host, one in zip(hosts, ids, strict=True)]
        ),
        "date": pa.array([f"{start + np.timedelta64(int(second), 's')}Z" for second in seconds], pa.string()),
        "file_path": pa.array(
            [f"crawl-data/{DUMP}/segments/1760000000000.00/warc/{unit}.warc.gz"] * count, pa.string()
        ),
        "language": pa.array(["en"] * count, pa.string()),
        "language_score": pa.array(random.uniform(0.65, 1, count).round(4)),
        "token_count": pa.nulls(count, pa.int64()),
        "warc_offset": pa.array(np.cumsum(lengths) - lengths, pa.int64()),
        "warc_length": pa.array(lengths, pa.int64()),
    }
    return pa.table(columns, DOCUMENTS)
