"""`python -m bench.pathological [--json]`: texts that have ruined tokenizers, beside tiktoken and ordinary text.

Each text is a megabyte: one long pretoken, or pretokens that never repeat. "slower" is our time for it divided by our
time for a megabyte of English, both with cold caches. The ratio is tiktoken's time to ours. tiktoken fails on a
megabyte of white space before a letter, so it gets a tenth of this text, and its time is multiplied by ten. The ids of
the text that tiktoken gets must be equal.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from bench import harness
from bpe.encode import Encoder
from bpe.files import load_vocabulary

SIZE = 1_000_000
NAME = "cl100k_base"


def main(as_json: bool) -> None:
    folder = harness.data_folder()
    vocabulary = load_vocabulary(folder / "tokenizers" / f"{NAME}.tiktoken")
    encoder = Encoder(vocabulary)
    encoder.encode("compile first")
    peer = harness.tiktoken_encoding(vocabulary)
    english = "".join(harness.read_documents(folder / "text" / "en_news_web.txt.gz"))[:SIZE]
    ordinary = cold_seconds(encoder, english)
    print(f"English: {ordinary * 1e3:.1f} ms a megabyte")
    ratios: dict[str, float] = {}
    ours: dict[str, Any] = {}
    peers: dict[str, Any] = {}
    for name, text in inputs(english).items():
        share = 10 if name == "white space, then a letter" else 1
        part = text[-len(text) // share :]
        start = time.perf_counter()
        expected = peer.encode_ordinary(part)
        theirs = share * (time.perf_counter() - start)
        if not np.array_equal(encoder.encode(part), expected):
            sys.exit(f"{name}: ids differ from tiktoken's")
        seconds = cold_seconds(encoder, text)
        ratios[name] = theirs / seconds
        ours[name] = {"seconds": seconds, "slower": seconds / ordinary}
        peers[name] = {"tiktoken": theirs}
        print(f"{name:<28} {seconds * 1e3:6.1f} ms, {seconds / ordinary:4.1f}x slower   tiktoken {ratios[name]:.1f}x")
    if as_json:
        harness.print_json("pathological", {"tiktoken": min(ratios.values()), **ratios}, ours, peers)


def cold_seconds(encoder: Encoder, text: str) -> float:
    def encode() -> None:
        encoder.clear()
        encoder.encode(text)

    return harness.median_seconds(encode, 5)


def inputs(english: str) -> dict[str, str]:
    chance = random.Random(1)
    letters: Callable[[str], str] = lambda alphabet: "".join(chance.choices(alphabet, k=SIZE))  # noqa: E731
    lower = "abcdefghijklmnopqrstuvwxyz"
    words = "".join(english.split())
    return {
        "one letter": "a" * SIZE,
        "one symbol": "^" * SIZE,
        "dashes": "-" * SIZE,
        "white space, then a letter": " " * SIZE + "x",
        "white space and newlines": "".join(chance.choice(("\n", " ", "    ", "        ")) for _ in range(SIZE // 4)),
        "random letters": letters(lower),
        "DNA": letters("ACGT"),
        "base64": letters(lower + lower.upper() + "0123456789+/"),
        "English without spaces": (words * 2)[:SIZE],
        "English letters alone": ("".join(filter(str.isalpha, words)) * 2)[:SIZE],
        "random Han": "".join(chr(chance.randint(0x4E00, 0x9FA5)) for _ in range(SIZE // 3)),
        "random Thai": "".join(chr(chance.randint(0x0E01, 0x0E2E)) for _ in range(SIZE // 3)),
    }


if __name__ == "__main__":
    main("--json" in sys.argv[1:])
