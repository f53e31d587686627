"""`python -m tests.fuzz.fuzz_warc --minutes 15`: mutated WARC files, and the promises that a reader must keep.

The files have a few records in every form (plain, or gzip or Zstandard, by record or whole). Each file is mutated a
few times: bytes are flipped, cut out, doubled or taken from elsewhere, and lengths are rewritten. `read_pages` reads
it, and `verdict` names the first promise that is broken:

- The reader raises nothing but the ValueError for a file without any record.
- It ends, and has read again at most a bounded multiple of the file's length.
- It delivers no id more often than the id is in the file.
- If the records have digests, it delivers only bodies that were written, unless the change is in a place that neither
  checksum nor digest covers (the line of the digest).

If `atheris` is installed, its coverage guides the mutations; otherwise they are drawn from a seed, which is printed. A
file that breaks a promise is written to `--out`.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import hashlib
import io
import random
import re
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import zstandard

from corpus.warc.framing import records
from corpus.warc.members import BLOCK, Window
from corpus.warc.pages import Page, read_pages

LIMIT = 200_000  # bytes of a page


def bodies() -> list[bytes]:
    """Bodies that tempt a reader: compressible, not so, with records, gzip and Zstandard inside, and one too large."""
    noise = random.Random(7).randbytes(3000)
    return [
        b"<p>" + b"some words of a page. " * 40,
        b"<p>" + noise,
        b"<html>\nWARC/1.0\r\nWARC-Type: response\r\nContent-Length: 4\r\n\r\nabcd\r\n\r\n</html>",
        b"<p>" + gzip.compress(b"WARC/1.0\r\nContent-Length: 9\r\n\r\n", mtime=0),
        b"<p>" + zstandard.compress(b"WARC/1.1\r\n"),
        b"<p>" + b"x" * (LIMIT + 10),
    ]


def record(number: int, body: bytes, kind: str = "response") -> bytes:
    block = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + body
    digest = base64.b32encode(hashlib.sha1(block).digest()).decode()
    header = (
        f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Record-ID: <urn:uuid:{number:08d}>\r\n"
        f"WARC-Target-URI: https://a.example/{number}\r\nWARC-Date: 2026-10-10T00:00:00Z\r\n"
        f"WARC-Block-Digest: sha1:{digest}\r\nContent-Length: {len(block)}\r\n\r\n"
    )
    return header.encode() + block + b"\r\n\r\n"


def stored(data: bytes) -> bytes:
    """A member that deflate leaves as it is, so that its records stand in it in plain text."""
    return gzip.compress(data, compresslevel=0, mtime=0)


FORMS: dict[str, Callable[[list[bytes]], bytes]] = {
    "gzip": lambda parts: b"".join(gzip.compress(part, mtime=0) for part in parts),
    "gzip, one member": lambda parts: gzip.compress(b"".join(parts), mtime=0),
    "stored": lambda parts: b"".join(map(stored, parts)),
    "stored, one member": lambda parts: stored(b"".join(parts)),
    "plain": b"".join,
    "zstd": lambda parts: b"".join(map(zstandard.compress, parts)),
    "zstd, one frame": lambda parts: zstandard.compress(b"".join(parts)),
    "mixed": lambda parts: b"".join(
        pack(part) for pack, part in zip([gzip.compress, bytes, zstandard.compress] * 9, parts, strict=False)
    ),
}


def seeds() -> list[bytes]:
    """A sound file in each form."""
    kinds = ["response", "request", "response", "metadata", "response", "response"]
    parts = [record(number, body, kind) for number, (body, kind) in enumerate(zip(bodies(), kinds, strict=True))]
    return [form(parts) for form in FORMS.values()]


def mutated(data: bytes, random_: random.Random, others: list[bytes]) -> bytes:
    """`data` changed in one to four places."""
    changed = bytearray(data)
    for _ in range(random_.randint(1, 4)):
        at = random_.randrange(len(changed) + 1)
        size = int(2 ** random_.uniform(0, 12))
        match random_.randrange(8):
            case 0:
                changed[at : at + 1] = bytes([random_.randrange(256)])
            case 1:
                del changed[at : at + size]
            case 2:
                changed[at:at] = changed[at : at + size]
            case 3:
                other = random_.choice(others)
                start = random_.randrange(len(other))
                changed[at : at + random_.choice([0, size])] = other[start : start + size]
            case 4:
                changed[at:] = b"" if random_.random() < 0.3 else changed[at:]
            case 5:
                lengths = list(re.finditer(rb"Content-Length: ([0-9]+)", changed))
                if lengths:
                    found = random_.choice(lengths)
                    near = str(max(0, int(found[1][:9]) + random_.randint(-20, 20))).encode()
                    changed[found.start(1) : found.end(1)] = random_.choice([near, b"0", b"9" * 12, b"-1", b""])
            case 6:
                changed[at:at] = random_.choice(
                    [b"\x1f\x8b\x08", b"WARC/1.0\r\n", b"\x28\xb5\x2f\xfd", b"\r\n\r\n", b"\0"]
                )
            case 7:
                changed[at : at + size] = random_.randbytes(min(size, 64))
    return bytes(changed)


def verdict(data: bytes) -> str | None:
    """The promise that the reader breaks on these bytes, or None."""
    window = Window(io.BytesIO(data), 0)
    for _ in records(window, LIMIT):
        pass
    # The last step back may be as long as the file.
    if window.reread > 9 * (len(data) + BLOCK):
        return f"{window.reread} bytes were read again, of a file of {len(data)}"
    try:
        items = list(read_pages(io.BytesIO(data), "fuzz", max_page_bytes=LIMIT))
    except ValueError as error:
        return None if "not a WARC file" in str(error) else f"raised {error!r}"
    pages = [item for item in items if isinstance(item, Page)]
    written = set(bodies())
    contents = unpacked(data)
    for id, count in Counter(page.id for page in pages).items():
        # In bytes that were changed, an id may stand more often than what inflates of them shows.
        if count > max(1, contents.count(id.encode())):
            return f"{id} is delivered {count} times"
    for page in pages:
        if page.html not in written and not _unsigned(page.html, contents):
            return f"{page.id}: a body that nobody wrote: {page.html[:60]!r}"
        if not 0 <= page.warc_offset <= len(data) - page.warc_length:
            return f"{page.id}: its range is outside of the file"
    return None


def _unsigned(body: bytes, contents: bytes) -> bool:
    """May this body come from a record whose digest line was broken, or from one that stands in another's body?"""
    at = contents.find(body)
    head = contents[max(0, contents.rfind(b"WARC/1.", 0, max(at, 0))) : max(at, 0)]
    return re.search(rb"WARC-Block-Digest: sha1:[A-Z2-7]{32}\s*\n", head) is None


def unpacked(data: bytes) -> bytes:
    """All that these bytes inflate to, member by member wherever one begins, and the bytes themselves."""
    found = [data]
    for match in re.finditer(rb"\x1f\x8b\x08|\x28\xb5\x2f\xfd", data):
        piece = data[match.start() :]
        inflater = zlib.decompressobj(16 + zlib.MAX_WBITS)
        try:
            if piece.startswith(b"\x1f"):
                found.extend(inflater.decompress(piece[at : at + 64]) for at in range(0, len(piece), 64))
            else:
                with zstandard.ZstdDecompressor().stream_reader(piece) as reader:
                    while part := reader.read(4096):
                        found.append(part)
        except (zlib.error, zstandard.ZstdError):
            continue
    return b"".join(found)


def run(seconds: float, seed: int, out: Path) -> int:
    """Files without a broken promise that were read in so many processor seconds; exits with 1 at the first that is."""
    random_ = random.Random(seed)
    others = seeds()
    end, count = time.process_time() + seconds, 0
    while time.process_time() < end:
        data = mutated(random_.choice(others), random_, others)
        check(data, out)
        count += 1
    return count


def check(data: bytes, out: Path) -> None:
    try:
        broken = verdict(data)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what we look for
        broken = f"raised {error!r}"
    if broken:
        out.write_bytes(data)
        sys.exit(f"{broken}\nthe file: {out}")


def main(arguments: Iterable[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Mutated WARC files against the promises of corpus.warc.pages.")
    parser.add_argument("--minutes", type=float, default=15, help="processor minutes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("fuzz-warc.bin"))
    options = parser.parse_args(None if arguments is None else list(arguments))
    try:
        import atheris
    except ImportError:
        count = run(options.minutes * 60, options.seed, options.out)
        print(f"{count:,} files from seed {options.seed}, no promise broken")
        return
    others = seeds()

    def mutate(data: bytes, size: int, seed: int) -> bytes:
        return mutated(data or others[seed % len(others)], random.Random(seed), others)[:size]

    atheris.Setup(
        [sys.argv[0], f"-max_total_time={int(options.minutes * 60)}", f"-seed={options.seed}", "-max_len=400000"],
        lambda data: check(data, options.out),
        custom_mutator=mutate,
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
