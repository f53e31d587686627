"""`python -m bench.encode [--json]`: encoding beside tiktoken, quicktok, gigatoken and Hugging Face's tokenizers.

One thread, real text, ids compared; about 3 minutes. The texts:

- English: all shared English text, recombined to 50 MB (`bench.recombine`), so that new words keep coming as in real
  text;
- multilingual: the shared text in other languages, and the web pages;
- code: the shared code, and the sources of Python's standard library.

No text holds the name of a special token, because gigatoken treats these differently.

Every figure is MB/s of UTF-8, the median of 3 rounds in which all take turns. In each round an encoder makes two
passes, each with empty caches (`clear`, or a new tokenizer), and the second pass is timed: the first pass gets its
memory fresh from the system, which costs up to a third of the time. Ours takes an Arrow column; for the ratio to
gigatoken it takes a list of Python strings, as gigatoken does. The other peers take lists of strings. tiktoken and
Hugging Face's, which cache little, get a fifth of the text. "two_threads" is ours with two threads / ours with one, if
there are two processors.
"""

from __future__ import annotations

import itertools
import os
import statistics
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bench import harness
from bpe.encode import Encoder
from bpe.files import PUBLISHED, load_vocabulary
from bpe.vocabulary import Vocabulary

ENGLISH_BYTES = 50_000_000
ROUNDS = 3
SLOW = {"tiktoken", "hf_tokenizers"}
SHARE = 5  # the slow peers get one document in five

Encode = Callable[[list[str]], Any]  # documents to ids, in the form of the library


def main(as_json: bool) -> None:
    os.environ["RAYON_NUM_THREADS"] = "1"  # before the libraries read it, once
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    processors = os.sched_getaffinity(0)
    folder = harness.data_folder()
    texts = {"english": english(folder), "multilingual": multilingual(folder), "code": code(folder)}
    ratios: dict[str, float] = {}
    ours: dict[str, Any] = {}
    peers: dict[str, Any] = {}
    for name in PUBLISHED:
        file = folder / "tokenizers" / f"{name}.tiktoken"
        vocabulary = load_vocabulary(file)
        encoder = Encoder(vocabulary)
        encoder.encode("compile first")
        for label, documents in texts.items():
            key = f"{name}/{label}"
            os.sched_setaffinity(0, {max(processors)})
            speeds = measure(encoder, documents, peers_of(file, vocabulary))
            os.sched_setaffinity(0, processors)
            ours[key] = {way: speeds.pop(way) for way in ("arrow", "strings", "warm")}
            peers[key] = speeds
            size = harness.utf8_bytes(documents) / 1e6
            shown = "  ".join(f"{way} {speed:.0f}" for way, speed in ours[key].items())
            print(f"{key}, {size:.0f} MB in {len(documents)} documents: ours {shown} MB/s", flush=True)
            for peer, speed in speeds.items():
                ratio = ours[key]["strings" if peer == "gigatoken" else "arrow"] / speed
                ratios[f"{key}.{peer}"] = ratio
                print(f"    {peer:<14} {speed:6.1f} MB/s  {ratio:6.2f}x", flush=True)
    if len(processors) > 1:
        ratios["two_threads"] = two_threads(folder, texts["english"])
        print(f"two threads: {ratios['two_threads']:.2f}x one")
    if as_json:
        harness.print_json("encode", ratios, ours, peers)


# ---- Texts ----


def english(folder: Path) -> list[str]:
    """ENGLISH_BYTES of English, the real text first."""
    from bench.recombine import recombined

    real = [document for name in ("en_gutenberg", "en_news_web") for document in _text(folder, f"{name}.txt.gz")]
    real += [(folder / "text" / "tinyshakespeare.txt").read_text(encoding="utf-8"), *_near_duplicates(folder, False)]
    documents: list[str] = []
    size = 0
    for array in recombined(real):
        for document in _without_names(array.to_pylist()):
            if size >= ENGLISH_BYTES:
                return documents
            documents.append(document)
            size += len(document.encode())
    raise AssertionError("recombination has no end")


def multilingual(folder: Path) -> list[str]:
    import json

    mixed = _text(folder, "mixed_multilingual_code.jsonl.gz")
    lines = (folder / "lid" / "lid_samples.jsonl").read_text(encoding="utf-8").splitlines()
    return _without_names([*mixed, *(json.loads(line)["text"] for line in lines), *_near_duplicates(folder, True)])


def code(folder: Path) -> list[str]:
    sources = sorted(Path(sysconfig.get_paths()["stdlib"]).rglob("*.py"))
    own = [path for path in sources if "site-packages" not in path.parts]
    return _without_names([path.read_bytes().decode("utf-8", "replace") for path in own])


def _text(folder: Path, name: str) -> list[str]:
    return harness.read_documents(folder / "text" / name)


def _near_duplicates(folder: Path, web: bool) -> list[str]:
    """The web pages, most of them German, or the English reviews."""
    table = pq.read_table(folder / "neardup" / "docs.parquet", columns=["text", "source"]).to_pylist()
    return [row["text"] for row in table if (row["source"] == "web") == web]


def _without_names(documents: list[str]) -> list[str]:
    names = [name for _, special_tokens in PUBLISHED.values() for name in special_tokens]
    return [document for document in documents if document and not any(name in document for name in names)]


# ---- Encoders ----


def peers_of(file: Path, vocabulary: Vocabulary) -> dict[str, Callable[[], Encode]]:
    """For each peer a function that makes an encoder with empty caches."""
    import gigatoken
    import quicktok

    name = file.name.removesuffix(".tiktoken")
    encoding = harness.tiktoken_encoding(vocabulary)
    hugging_face = _hugging_face(vocabulary)

    def new_gigatoken() -> Encode:
        tokenizer = gigatoken.Tokenizer.from_tiktoken(file, vocabulary.pattern)
        return lambda documents: tokenizer.encode_batch(documents, parallel=False)

    makers: dict[str, Callable[[], Encode]] = {
        "tiktoken": lambda: lambda documents: [encoding.encode_ordinary(text) for text in documents],
        "gigatoken": new_gigatoken,
        "hf_tokenizers": lambda: lambda documents: hugging_face.encode_batch_fast(documents, add_special_tokens=False),
    }
    if name in quicktok.MODEL_TO_ENCODING.values():  # it has no gpt2
        makers["quicktok"] = lambda: lambda documents: quicktok.get_encoding(name).encode_batch(documents, 1, False)[0]
    return makers


def _hugging_face(vocabulary: Vocabulary) -> Any:
    import tokenizers

    from bpe.export import hugging_face

    return tokenizers.Tokenizer.from_str(hugging_face(vocabulary).decode())


def measure(encoder: Encoder, documents: list[str], makers: dict[str, Callable[[], Encode]]) -> dict[str, float]:
    """MB/s of each way of ours and of each peer, which take turns. Exits if the ids differ."""
    column = pa.array(documents, pa.large_string())
    some = documents[::SHARE]
    all_ids, some_ids = encoder.encode_batch(column)[1], encoder.encode_batch(some)[1]
    megabytes, some_megabytes = harness.utf8_bytes(documents) / 1e6, harness.utf8_bytes(some) / 1e6

    def ours() -> Encode:
        encoder.clear()
        return lambda texts: encoder.encode_batch(texts)[1]

    contestants: list[tuple[str, Callable[[], Encode], Any]] = [("arrow", ours, column), ("strings", ours, documents)]
    contestants += [("warm", lambda: lambda texts: encoder.encode_batch(texts)[1], column)]
    contestants += [(name, make, some if name in SLOW else documents) for name, make in makers.items()]
    speeds: dict[str, list[float]] = {name: [] for name, _, _ in contestants}
    for _ in range(ROUNDS):
        for name, make, texts in contestants:
            make()(texts)
            encode = make()
            start = time.perf_counter()
            ids = encode(texts)
            seconds = time.perf_counter() - start
            speeds[name].append((some_megabytes if name in SLOW else megabytes) / seconds)
            if not np.array_equal(_flat(ids), some_ids if name in SLOW else all_ids):
                sys.exit(f"{name}: ids differ from ours")
    return {name: statistics.median(rounds) for name, rounds in speeds.items()}


def _flat(ids: Any) -> NDArray[Any]:
    """The ids of all documents in one array, from the output of any encoder."""
    if isinstance(ids, np.ndarray):
        return ids
    if not isinstance(ids, list):  # gigatoken's
        import awkward

        return awkward.to_numpy(awkward.flatten(ids))
    lists: list[Any] = [getattr(one, "ids", one) for one in ids]
    if lists and not isinstance(lists[0], list):  # quicktok's are in a row already
        return np.asarray(lists)
    return np.fromiter(itertools.chain.from_iterable(lists), np.uint32)


def two_threads(folder: Path, documents: list[str]) -> float:
    encoder = Encoder(load_vocabulary(folder / "tokenizers" / "cl100k_base.tiktoken"))
    column = pa.array(documents, pa.large_string())
    seconds = {
        threads: harness.median_seconds(lambda threads=threads: encoder.encode_batch(column, threads), 5)  # type: ignore[misc]
        for threads in (1, 2)
    }
    return seconds[1] / seconds[2]


if __name__ == "__main__":
    main("--json" in sys.argv[1:])
