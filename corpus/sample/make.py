"""`corpus sample`: a small crawl made on this machine, so that everything can be tried without a network.

In: the Python packages that are installed anyway, and a few dozen pages of our own (`own`). Out: WARC files laid out
like Common Crawl's, and `sample.json`, which says what they were made from. Some documentation pages have copies, for
the deduplicator to find: unchanged at another address, or with a few words edited. The last file ends in a damaged
record.

The same installed packages, page count, shard count and seed give the same bytes. A sample appears whole or not at all,
so a folder that exists is a finished sample.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import hashlib
import importlib.metadata
import json
import platform
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bpe.parse import brief, parse_json
from bpe.whole import make_folder, sync, whole, write_whole
from corpus.sample import archive
from corpus.sample.docs import PACKAGES, Doc, documentation
from corpus.sample.own import Response, own_pages
from corpus.sample.template import page

DEFAULT_PAGES = 2000
_EXACT_COPIES, _NEAR_COPIES = 20, 12  # one documentation page in so many has such copies
_VERSIONS = ("3.11.4", "3.11.5")
_EDITS = (("function", "routine"), ("returns", "gives back"), ("specified", "named"), ("following", "next"))


@dataclasses.dataclass(frozen=True)
class SampleSummary:
    """What is in the sample's folder."""

    paths: tuple[Path, ...]  # the WARC files, in order
    pages: int  # pages of documentation, copies not counted
    copies: int  # exact and near copies of some of them
    own: int  # responses of our own, pages or not
    bytes: int  # of all the WARC files
    created: bool  # False: the sample was there already and stays as it is

    def __str__(self) -> str:
        what = f"{self.pages:,} pages of documentation, {self.copies:,} copies, {self.own} pages of our own"
        where = f"{len(self.paths)} WARC files, {self.bytes / 1e6:.1f} MB, in {self.paths[0].parent}"
        return f"{'sample' if self.created else 'sample was there already'}: {what}; {where}"


def write_sample(output: Path, *, pages: int | None = None, shards: int = 2, seed: int = 1) -> SampleSummary:
    """Make a sample of about `pages` documentation pages (default 2,000) in `shards` WARC files under `output`.

    With few packages installed, there are fewer pages. A sample that is there already stays as it is. Raises ValueError
    if `pages` or `shards` is out of range, or if `output` holds a sample with other settings, a damaged sample, or
    anything else.
    """
    wanted = DEFAULT_PAGES if pages is None else pages
    if wanted < 1:
        raise ValueError(f"pages = {wanted}: should be at least 1")
    if not 1 <= shards <= 1000:
        raise ValueError(f"shards = {shards}: should be between 1 and 1000")
    settings = {"pages": wanted, "shards": shards, "seed": seed}
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        return _existing(output, settings)

    make_folder(output if output.is_symlink() else output.parent)
    with whole(output.resolve()) as folder:
        folder.mkdir()
        manifest = _write(folder, settings)
    return _summary(output, manifest, created=True)


def _write(folder: Path, settings: dict[str, int]) -> dict[str, Any]:
    """Write the WARC files and then `sample.json`; return what it says."""
    shards, seed = settings["shards"], settings["seed"]
    with _no_garbage_collection():
        docs = list(documentation(settings["pages"], seed))
    copies = list(_copies(docs, seed))
    own = own_pages()
    originals = [Response(doc.url, doc.html.encode()) for doc in docs]
    # In the order of a hash: copies lie far from their originals, and every shard has pages of all kinds.
    responses = sorted([*originals, *copies, *own], key=lambda response: _place(seed, response.url))
    files = []
    for shard in range(shards):
        name = f"{archive.DUMP}-{shard:05d}.warc.gz"
        damaged = Response("https://harbour.example/cut", own[0].body) if shard == shards - 1 else None
        part = responses[shard::shards]
        with (folder / name).open("wb") as out:
            archive.write_warc(out, name, part, seed=seed, first=shard * len(responses), damaged=damaged)
        sync(folder / name)
        data = (folder / name).read_bytes()
        files.append({"name": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()})
    manifest = {
        "format": 1,
        "settings": settings,
        "made_from": _installed(),
        "counts": {"pages": len(docs), "copies": len(copies), "own": len(own), "damaged": 1},
        "hosts": dict(sorted(Counter(urlsplit(response.url).hostname for response in responses).items())),
        "files": files,
    }
    write_whole(folder / "sample.json", (json.dumps(manifest, indent=1) + "\n").encode())
    return manifest


def _existing(output: Path, settings: dict[str, int]) -> SampleSummary:
    manifest_path = output / "sample.json"
    if not manifest_path.is_file():
        raise ValueError(f"{output}: is not empty and holds no sample; name another folder")
    try:
        manifest = parse_json(manifest_path.read_bytes())
        whole = sorted(manifest["settings"]) == sorted(settings) and _summary(output, manifest, created=False)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        fix = f"delete {output} and make the sample again"
        raise ValueError(f"{manifest_path}: damaged ({brief(error)}); {fix}") from None
    if not whole or manifest["settings"] != settings:
        raise ValueError(
            f"{output}: holds a sample made with {_shown(manifest['settings'])}, not {_shown(settings)}; "
            "name another folder, or delete this one"
        )
    for file in manifest["files"]:
        path = output / file["name"]
        if not path.is_file() or path.stat().st_size != file["bytes"]:
            raise ValueError(f"{path}: is missing or changed; delete {output} and make the sample again")
    return _summary(output, manifest, created=False)


def _summary(output: Path, manifest: dict[str, Any], *, created: bool) -> SampleSummary:
    counts = manifest["counts"]
    return SampleSummary(
        paths=tuple(output / file["name"] for file in manifest["files"]),
        pages=counts["pages"],
        copies=counts["copies"],
        own=counts["own"],
        bytes=sum(file["bytes"] for file in manifest["files"]),
        created=created,
    )


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Syntax trees are large and hold no cycles. Searching for cycles took a third of the time (12.6 s against 8.0)."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _copies(docs: Sequence[Doc], seed: int) -> Iterable[Response]:
    """Copies of some pages: unchanged at another address, in the frame of another site, or edited."""
    for number, doc in enumerate(docs):
        parts = urlsplit(doc.url)
        if number % _EXACT_COPIES == 0:
            # Every second copy is in the mirror's own frame: the page differs, its text does not.
            mirror = f"https://mirror.example/{parts.hostname}{parts.path}"
            whole = page(mirror, doc.title, doc.main) if number % (2 * _EXACT_COPIES) else doc.html
            yield Response(mirror, whole.encode())
        if number % _NEAR_COPIES == 1:
            for version in _VERSIONS:
                url = f"https://archive.example/{version}/{parts.hostname}{parts.path}"
                yield Response(url, page(url, doc.title, _edited(doc.main, version, seed + number)).encode())


def _edited(main: str, version: str, choice: int) -> str:
    """`main` as another release would have it: two occurrences of one word are changed, and the version is named."""
    before, after = _EDITS[choice % len(_EDITS)]
    edited = re.sub(rf"\b{before}\b", after, main, count=2)
    return f"{edited}\n<p>This page describes release {version}, which is not the newest one.</p>"


def _place(seed: int, url: str) -> bytes:
    return hashlib.blake2b(f"{seed} {url}".encode(), digest_size=8).digest()


def _installed() -> dict[str, str]:
    """The versions of Python and of the packages that the pages were made from."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _shown(settings: dict[str, int]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in settings.items())
