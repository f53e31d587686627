"""Training a vocabulary beside Hugging Face's BpeTrainer, rustbpe and gigatoken, on one thread each.

    python -m bench.bpe_train [--json] [--megabytes 100]      # the comparison, about 1.5 minutes
    python -m bench.bpe_train --scale 10GB [--memory 3GB]     # one run of ours on generated text: time and peak memory

The text is all shared English, recombined to the wanted size (`bench.recombine`), in one Parquet file. Each trainer
runs in a process of its own, which prints its seconds, its peak memory and a hash of its tokens. A ratio is printed
only if the peer's tokens are those that ours finds with the same split rule and the same ties. Each trainer gets the
input that suits it best: ours the Parquet file, gigatoken the text in one file, the others an iterator of strings,
whose own time is measured and subtracted. Seconds are medians of 3 for ours and gigatoken, and of one run for the two
slow peers. Compilation is reported by itself.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bench import harness

SIZE = 32_768
# Peer -> its split rule, and how it breaks ties.
PEERS = {"hf_tokenizers": ("cl100k", "hf"), "rustbpe": ("cl100k", "ids"), "gigatoken": ("gpt2", "hf")}
UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9}


def compare(megabytes: int, as_json: bool) -> None:
    """Run all trainers on the same text and print the ratios."""
    with tempfile.TemporaryDirectory() as folder:
        file = _write_text(megabytes * 10**6, Path(folder))
        print(f"{megabytes} MB of English, {SIZE} tokens, one thread each", flush=True)
        ours: dict[str, dict[str, float]] = {}
        peers: dict[str, dict[str, float]] = {}
        for name, (pattern, ties) in PEERS.items():
            mine = f"ours {pattern} {ties}"
            ours[name] = _in_process(mine, file)
            peers[name] = _in_process(name, file)
            if ours[name]["tokens"] != peers[name]["tokens"]:
                sys.exit(f"the vocabularies of {name} and {mine} differ")
            harness.print_row(mine, "s", ours[name]["seconds"], {name: peers[name]["seconds"]}, False)
            harness.print_row("  peak memory", "MB", ours[name]["megabytes"], {name: peers[name]["megabytes"]}, False)
    print(f"compilation, once: {max(one['compile_seconds'] for one in ours.values()):.1f} s")
    if as_json:
        speed = {name: peers[name]["seconds"] / ours[name]["seconds"] for name in PEERS}
        memory = {f"{name}.memory": peers[name]["megabytes"] / ours[name]["megabytes"] for name in PEERS}
        harness.print_json("bpe_train", speed | memory, ours, peers)


def _write_text(size: int, folder: Path) -> Path:
    """Write the text as Parquet, and beside it as one file with a separator between documents."""
    from bench.recombine import documents_of

    file, schema = folder / "text.parquet", pa.schema({"text": pa.large_string()})
    with pq.ParquetWriter(file, schema, compression="zstd") as writer, (folder / "text.txt").open("wb") as text:
        for array in documents_of(size):
            writer.write_table(pa.table([array], schema))
            text.writelines(document.encode() + b"<|endoftext|>" for document in array.to_pylist())
    return file


def _in_process(trainer: str, file: Path) -> dict[str, float]:
    """The figures of one trainer, which runs in a process of its own."""
    command = [sys.executable, "-m", "bench.bpe_train", "--one", trainer, "--file", str(file)]
    done = subprocess.run(command, env=os.environ | {"RAYON_NUM_THREADS": "1"}, stdout=subprocess.PIPE, check=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def one(trainer: str, file: Path) -> None:
    """Train, and print seconds, peak memory and the hash of the tokens as JSON."""
    if trainer.startswith("ours"):
        _, pattern, ties = trainer.split()
        tokens, seconds, compile_seconds = _ours(file, pattern, ties)
    else:
        compile_seconds = 0.0
        tokens, seconds = {"hf_tokenizers": _hf_tokenizers, "rustbpe": _rustbpe, "gigatoken": _gigatoken}[trainer](file)
    # Each library orders the single bytes by its own rule; the order of the other tokens is what training finds.
    learnt = [token for token in tokens if len(token) > 1]
    digest = hashlib.sha256(b"".join(len(token).to_bytes(4, "little") + token for token in learnt)).hexdigest()
    peak = _peak_bytes() / 1e6
    print(json.dumps({"seconds": seconds, "megabytes": peak, "compile_seconds": compile_seconds, "tokens": digest}))


def _ours(file: Path, pattern: str, ties: str) -> tuple[list[bytes], float, float]:
    from bpe.sources import read_texts
    from bpe.train import train

    start = time.perf_counter()
    train(["compile it"], 300, pattern, (), ties)
    compile_seconds = time.perf_counter() - start
    vocabularies = []
    seconds = harness.median_seconds(
        lambda: vocabularies.append(train(read_texts([file]), SIZE, pattern, (), ties)), 3, warmup=0
    )
    return list(vocabularies[0].tokens), seconds, compile_seconds


def _documents(file: Path) -> Iterator[str]:
    with pq.ParquetFile(file) as parquet:
        for batch in parquet.iter_batches(4096):
            yield from batch.column(0).to_pylist()


def _seconds_beyond_reading(file: Path, call: Callable[[], None]) -> float:
    reading = harness.median_seconds(lambda: sum(1 for _ in _documents(file)), 1, warmup=0)
    return harness.median_seconds(call, 1, warmup=0) - reading


def _hf_tokenizers(file: Path) -> tuple[list[bytes], float]:
    import tokenizers

    from bpe.patterns import ONIGURUMA
    from bpe.vocabulary import BYTE_ORDER

    pre = tokenizers.pre_tokenizers
    rule = pre.Split(tokenizers.Regex(ONIGURUMA["cl100k"]), "isolated")
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = pre.Sequence([rule, pre.ByteLevel(add_prefix_space=False, use_regex=False)])
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=SIZE, show_progress=False, special_tokens=[], initial_alphabet=pre.ByteLevel.alphabet()
    )
    seconds = _seconds_beyond_reading(file, lambda: tokenizer.train_from_iterator(_documents(file), trainer))
    vocab = tokenizer.get_vocab()
    by_id = sorted(vocab, key=vocab.__getitem__)
    # The first 256 tokens are letters, which stand for the bytes in GPT-2's order.
    byte_of = {letter: bytes([byte]) for letter, byte in zip(by_id, BYTE_ORDER, strict=False)}
    return [b"".join(byte_of[letter] for letter in token) for token in by_id], seconds


def _rustbpe(file: Path) -> tuple[list[bytes], float]:
    import rustbpe

    from bpe.patterns import REGEX

    tokenizer = rustbpe.Tokenizer()
    seconds = _seconds_beyond_reading(
        file, lambda: tokenizer.train_from_iterator(_documents(file), SIZE, pattern=REGEX["cl100k"])
    )
    return [bytes(token) for token, _ in tokenizer.get_mergeable_ranks()], seconds


def _gigatoken(file: Path) -> tuple[list[bytes], float]:
    import gigatoken

    results = []
    text = str(file.with_suffix(".txt"))
    seconds = harness.median_seconds(
        # gigatoken counts the separator among the ids.
        lambda: results.append(gigatoken.train_bpe(text, SIZE + 1, ["<|endoftext|>"], "huggingface", b"<|endoftext|>")),
        3,
        warmup=0,
    )
    return [b"x", *(left + right for left, right in results[0][1])], seconds


def scale(size: int, memory: int | None, threads: int) -> None:
    """Train on generated text of any size, and print the peak memory of the process."""
    from bench.recombine import documents_of
    from bpe.train import train

    phases: dict[str, float] = {}
    start = time.perf_counter()

    def progress(phase: str, done: int, total: int | None) -> None:
        phases[phase] = time.perf_counter() - start

    vocabulary = train(documents_of(size), SIZE, threads=threads, memory=memory, progress=progress)
    peak = _peak_bytes() / 1e9
    print(f"{size / 1e9:.1f} GB, {vocabulary.size} ids, {threads} threads, memory {memory or 'unbounded'}: ", end="")
    print(f"counted (and generated) after {phases['counting']:.0f} s, done after {phases['merging']:.0f} s", end="")
    print(f", peak {peak:.2f} GB; sha256 {vocabulary.hash[:16]}")


def _peak_bytes() -> int:
    """Peak resident memory of this process. (ru_maxrss would be no less than the parent's when it was started.)"""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def _bytes(text: str) -> int:
    unit = text[-2:].upper()
    return int(float(text[:-2]) * UNITS[unit]) if unit in UNITS else int(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--scale", type=_bytes)
    parser.add_argument("--memory", type=_bytes)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        one(options.one, options.file)
    elif options.scale:
        scale(options.scale, options.memory, options.threads)
    else:
        compare(options.megabytes, options.json)


if __name__ == "__main__":
    main()
