"""`python -m bench.sources`: other people's files to documents, beside the readers that people use.

Reading alone: a Parquet file with FineWeb's nine columns goes through the reader of the stages (`corpus.sources`),
which checks every text, casts and adds the lineage; the peer is `iter_batches` of pyarrow, which gives the same columns
as they are. The texts are real ones, each made unlike the others. JSON lines are shown as well, beside orjson alone.
Ours and the peer take turns, each in a process of its own, in processor time; the ratio is the median of the ratios of
the turns. `bench.sources_datatrove` runs whole commands beside datatrove.
"""

from __future__ import annotations

import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from bench.harness import data_folder, print_json, print_row, read_documents, repeat_to, utf8_bytes
from bench.sources_datatrove import dedup, filters
from bench.tokenize import Alone
from corpus.run.chain import Chain
from corpus.schema import DOCUMENTS
from corpus.sources.plan import open_sources

TURNS = 7
TEXT_BYTES = 192 << 20
ROW_GROUP = 1000  # documents, as datatrove writes them
FINEWEB = DOCUMENTS.names[:9]
Reader = Callable[[list[str]], int]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        documents = fineweb_rows()
        parquet, lines = write_parquet(documents, Path(folder)), write_lines(documents, Path(folder))
        size = utf8_bytes([str(document["text"]) for document in documents])
        del documents
        rates, ratio = {}, {}
        for path, peer, name in ((parquet, with_pyarrow, "pyarrow"), (lines, with_orjson, "orjson")):
            seconds = measured(path, {"ours": ours, name: peer})
            rates[name] = {of: size / 1e6 / statistics.median(seconds[of]) for of in seconds}
            turns = zip(seconds[name], seconds["ours"], strict=True)
            ratio[name] = statistics.median(peers / mine for peers, mine in turns)
            print_row(Path(path[0]).name, "MB/s of text", rates[name]["ours"], {name: rates[name][name]}, True)
        stages = {name: run(Path(folder)) for name, run in (("filters", filters), ("dedup", dedup))}
        for name, rate in stages.items():
            print_row(f"datatrove_{name}", "documents/s", rate.ours, {"datatrove": rate.peer}, True)
    if "--json" in sys.argv:
        print_json(
            "sources",
            {"pyarrow": ratio["pyarrow"]}
            | {f"datatrove_{name}": rate.ours / rate.peer for name, rate in stages.items()},
            {"parquet_mb_per_second": rates["pyarrow"]["ours"], "jsonl_mb_per_second": rates["orjson"]["ours"]}
            | {name: rate.ours for name, rate in stages.items()},
            {name: rates[name][name] for name in rates} | {f"datatrove_{name}": r.peer for name, r in stages.items()},
        )


def fineweb_rows() -> list[dict[str, object]]:
    """Documents with FineWeb's nine columns; a number at the end makes each text unlike the others."""
    texts = read_documents(data_folder() / "text" / "mixed_multilingual_code.jsonl.gz")
    texts = [text[start : start + 4000] for text in texts for start in range(0, len(text), 4000)]
    return [
        {
            "text": f"{text}\n{row}",
            "id": f"<urn:uuid:{row:032x}>",
            "dump": "CC-MAIN-2024-10",
            "url": f"https://example.org/{row % 997}/a-page-of-some-site/{row}.html",
            "date": "2024-02-20T00:00:00Z",
            "file_path": f"s3://commoncrawl/crawl-data/CC-MAIN-2024-10/segments/1/warc/{row // 500:05}.warc.gz",
            "language": "en",
            "language_score": 0.5 + row % 50 / 100,
            "token_count": len(text) // 4,
        }
        for row, text in enumerate(repeat_to(texts, TEXT_BYTES))
    ]


def write_parquet(documents: Sequence[dict[str, object]], folder: Path) -> list[str]:
    path = folder / "000_00000.parquet"
    schema = pa.schema([DOCUMENTS.field(name) for name in FINEWEB])
    pq.write_table(pa.Table.from_pylist(list(documents), schema), path, row_group_size=ROW_GROUP)
    return [str(path)]


def write_lines(documents: Sequence[dict[str, object]], folder: Path) -> list[str]:
    path = folder / "000_00000.jsonl"
    path.write_bytes(b"".join(orjson.dumps(document) + b"\n" for document in documents))
    return [str(path)]


def ours(paths: list[str]) -> int:
    """Rows of all units, through a chain without a stage."""
    files = open_sources(paths)
    reader = files.reader()
    units = files.units(files.keys())
    return sum(len(rows.ordinals) for unit in units for rows in reader.read(unit, Chain([], Alone(), 1.0)))


def with_pyarrow(paths: list[str]) -> int:
    return sum(batch.num_rows for path in paths for batch in pq.ParquetFile(path).iter_batches(columns=FINEWEB))


def with_orjson(paths: list[str]) -> int:
    """Lines parsed and forgotten: what any reader in Python takes at least."""
    count = 0
    for path in paths:
        with open(path, "rb") as stream:
            for line in stream:
                count += "text" in orjson.loads(line)
    return count


def measured(paths: list[str], readers: dict[str, Reader]) -> dict[str, list[float]]:
    """Processor seconds of each turn of each reader, each turn in a process of its own."""
    seconds: dict[str, list[float]] = {name: [] for name in readers}
    context = multiprocessing.get_context("spawn")  # Arrow's threads do not live on in a fork
    for _ in range(TURNS):
        for name, reader in readers.items():
            with context.Pool(1) as pool:
                seconds[name].append(pool.apply(_timed, (reader, paths)))
    return seconds


def _timed(reader: Reader, paths: list[str]) -> float:
    reader(paths)
    began = time.process_time()
    reader(paths)
    return time.process_time() - began


if __name__ == "__main__":
    main()
