"""`python -m tests.fuzz.fuzz_metadata records --minutes 10`: mutated metadata, and what a reader must say to it.

Metadata are the small files that name and describe the large ones: the commit records and the manifest of a dataset, a
recipe, a vocabulary in each form that is read (tokenizer.json, a .tiktoken rank file, our own folder), a run's
checkpoint with its config.json and metrics.jsonl, and a model in Hugging Face's format. `KINDS` lists them.

A file of a sound folder is mutated: its bytes, or the values in it (a key goes, a number becomes a list, or 2^70, or a
hundred thousand brackets). A checkpoint is sealed again afterwards, because its hash would refuse everything. Then the
folder is read as the commands read it. Each reading must end within LIMIT processor seconds, and either accept the
files or raise one ValueError or OSError, of one line. Everything else is a finding. Findings are told apart by where
they were raised; the folder of each is kept below `--out`.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import tomllib
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.support import metadata
from tests.support.paths import REPOSITORY

LIMIT = 20.0  # processor seconds for one reading
_MEMORY = 8 << 30  # bytes that a reading may allocate
_DEEP = 100_000  # brackets


class Form(NamedTuple):
    """How the values in a file are read and written again."""

    decode: Callable[[bytes], Any]
    encode: Callable[[Any], bytes]


def _json_bytes(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _toml_bytes(value: Any) -> bytes:
    """A table of tables as TOML; a value that is no table stands in one line, as JSON writes it."""
    tables = value.items() if isinstance(value, dict) else []
    plain = [f"{json.dumps(name)} = {_toml_value(item)}" for name, item in tables if not isinstance(item, dict)]
    for name, item in tables:
        if isinstance(item, dict):
            plain += [f"[{json.dumps(name)}]", *(f"{json.dumps(key)} = {_toml_value(of)}" for key, of in item.items())]
    return "\n".join(plain).encode("utf-8", "surrogatepass")


def _toml_value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml_value, value)) + "]"
    return {"NaN": "nan", "Infinity": "inf", "null": "''"}.get(text := json.dumps(value, ensure_ascii=False), text)


def _rows(data: bytes) -> list[Any]:
    return [json.loads(line) for line in data.splitlines()]


def _row_bytes(rows: Any) -> bytes:
    return b"".join(_json_bytes(row) + b"\n" for row in (rows if isinstance(rows, list) else [rows]))


def _table(data: bytes) -> list[Any]:
    import pyarrow.parquet as pq

    rows: list[Any] = pq.read_table(io.BytesIO(data)).to_pylist()
    return rows


def _table_bytes(rows: Any) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if b"{}" in _json_bytes(rows).decode().encode():  # Arrow may crash where it writes a struct without fields
        raise ValueError("no Parquet file holds this")
    target = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), target)
    return target.getvalue()


FORMS: dict[str, Form] = {
    ".json": Form(json.loads, _json_bytes),
    ".jsonl": Form(_rows, _row_bytes),
    ".toml": Form(lambda data: tomllib.loads(data.decode()), _toml_bytes),
    ".parquet": Form(_table, _table_bytes),
    ".pt": Form(metadata.unsealed, metadata.sealed),
}


class Kind(NamedTuple):
    """A kind of metadata.

    make   writes sound files into an empty folder
    read   reads the folder as the commands do
    files  patterns of the files that are mutated
    """

    make: Callable[[Path], None]
    read: Callable[[Path], None]
    files: tuple[str, ...]


KINDS: dict[str, Kind] = {
    "records": Kind(metadata.make_records, metadata.read_records, ("_units/*.json", "_config/*.json")),
    "manifest": Kind(metadata.make_manifest, metadata.read_records, ("_manifest.parquet",)),
    "recipes": Kind(metadata.make_recipe, metadata.read_recipe, ("*.toml",)),
    "tokenizers": Kind(metadata.make_tokenizers, metadata.read_tokenizers, ("*/*",)),
    "checkpoints": Kind(
        metadata.make_checkpoint, metadata.read_checkpoint, ("*.pt", "config.json", "metrics.jsonl", "tokenizer/*")
    ),
    "models": Kind(metadata.make_model, metadata.read_model, ("*.json", "*.safetensors")),
}


# ---- Mutations ----

_VALUES: list[Any] = [
    *[None, True, False, 0, -1, 1, 3, 2**31, 2**63, 2**70, -(2**70), 0.5, -1e308, float("nan"), float("inf")],
    *["", "x", "../../../evil/owned", "/etc/passwd", "a\x00b", "\ud800", "\x1b[2J", "é" * 300, "1e5", "12,5"],
    *[[], {}, [[]], [None], {"": 0}, [1, 2, 3], ["x"], {"x": {"x": []}}],
]


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) below a value."""
    for key, item in list(value.items() if isinstance(value, dict) else enumerate(value)):
        yield value, key
        if isinstance(item, dict | list):
            yield from _places(item)


def _mutated_value(value: Any, chance: random.Random) -> Any:
    """A value in which one to three places have been changed. Dicts and lists are changed in place."""
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        if not isinstance(value, dict | list) or not value or chance.random() < 0.03:
            return chance.choice(_VALUES)
        places = list(_places(value))
        container, key = chance.choice(places)
        match chance.randrange(6):
            case 0:
                del container[key]
            case 1 if isinstance(container, dict):
                container[chance.choice(["x", "", "format", "unit", "type"])] = chance.choice(_VALUES)
            case 2:
                container[key] = chance.choice([{"x": container[key]}, [container[key]], str(container[key])])
            case 3:
                other, name = chance.choice(places)
                with contextlib.suppress(KeyError, IndexError):
                    container[key] = json.loads(json.dumps(other[name], default=str))
            case _:
                container[key] = chance.choice(_VALUES)
    return value


def _mutated_bytes(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(changed) + 1)
        size = int(2 ** chance.uniform(0, 8))
        match chance.randrange(7):
            case 0 | 1 if at < len(changed):
                changed[at] ^= 1 << chance.randrange(8)
            case 2:
                del changed[at : at + size]
            case 3:
                changed[at:at] = changed[at : at + size]
            case 4:
                changed[at:] = b""
            case 5:
                changed[at : at + size] = chance.randbytes(size)
            case _:
                changed[at:at] = chance.choice(
                    [b"\0", b"\xff", b'"', b"{", b"]", b"\n", b"-", b"9" * 30, b"\xef\xbb\xbf"]
                )
    return bytes(changed)


def mutated(name: str, data: bytes, chance: random.Random) -> bytes:
    """The file `name` with other bytes or other values in it."""
    form = FORMS.get(Path(name).suffix)
    if chance.random() < 0.01:
        return chance.choice(
            [b"", b"[" * _DEEP, b'{"a":' * _DEEP, b"\0" * 100, b"null", b"0", b'"x"', b"a = " + b"[" * _DEEP]
        )
    if form and chance.random() < 0.8:
        for _ in range(5):
            with contextlib.suppress(Exception):  # values that this form cannot hold: another try
                return form.encode(_mutated_value(form.decode(data), chance))
    changed = _mutated_bytes(data, chance)
    return metadata.resealed(changed) if name.endswith(".pt") and chance.random() < 0.7 else changed


# ---- Verdicts ----


class Hang(BaseException):
    """A reading took more than LIMIT."""


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    def over(signum: int, frame: Any) -> None:
        raise Hang

    before = signal.signal(signal.SIGPROF, over)
    signal.setitimer(signal.ITIMER_PROF, LIMIT)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


class Finding(NamedTuple):
    """What a reading did against its promise, and where in our code."""

    what: str
    where: str


def verdict(kind: Kind, folder: Path) -> Finding | None:
    """The promise that reading `folder` breaks, or None."""
    try:
        with _limited():
            kind.read(folder)
    except Hang as error:
        return Finding(f"more than {LIMIT:g} s", _where(error))
    except (ValueError, OSError) as error:
        text = str(error)
        if isinstance(error, UnicodeError | json.JSONDecodeError) or not text or "\n" in text or len(text) > 2000:
            return Finding(f"raised {error!r:.300}", _where(error))
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return Finding(f"raised {error!r:.300}", _where(error))
    return None


def _where(error: BaseException) -> str:
    """The last line of ours in the traceback."""
    ours = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if os.path.relpath(frame.filename, REPOSITORY).partition(os.sep)[0] in ("corpus", "bpe", "model")
    ]
    return f"{os.path.relpath(ours[-1].filename, REPOSITORY)}:{ours[-1].lineno}" if ours else "outside"


def run(name: str, seconds: float, seed: int, out: Path, cases: int = sys.maxsize) -> tuple[int, dict[Finding, Path]]:
    """(folders that were read in so many processor seconds, the findings by their places, each with its folder)."""
    kind, chance = KINDS[name], random.Random(f"{name} {seed}")
    findings: dict[str, tuple[Finding, Path]] = {}
    end, count = time.process_time() + seconds, 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "sound")
        folder.mkdir()
        kind.make(folder)
        if broken := verdict(kind, folder):
            raise AssertionError(f"{name}: sound files are refused: {broken}")
        paths = sorted(path for pattern in kind.files for path in folder.glob(pattern) if path.is_file())
        assert paths
        while time.process_time() < end and count < cases:
            path = chance.choice(paths)
            data = path.read_bytes()
            path.write_bytes(mutated(path.name, data, chance))
            broken = verdict(kind, folder)
            if broken and broken.where not in findings:
                kept = out / f"{name}-{seed}-{count}"
                shutil.copytree(folder, kept, dirs_exist_ok=True)
                findings[broken.where] = broken, kept
            path.write_bytes(data)
            count += 1
    return count, dict(findings.values())


def main() -> int:
    parser = argparse.ArgumentParser(description="Mutated metadata against the promise of one clear error.")
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(KINDS)}; all by default")
    parser.add_argument("--minutes", type=float, default=10, help="processor minutes for each kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("fuzz-metadata"), help="folder for what breaks a promise")
    options = parser.parse_args()
    if unknown := set(options.kinds) - set(KINDS):
        parser.error(f"{', '.join(sorted(unknown))}: should be of {', '.join(KINDS)}")
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
    failed = False
    for name in options.kinds or KINDS:
        count, findings = run(name, options.minutes * 60, options.seed, options.out)
        print(f"{name}: {count:,} folders from seed {options.seed}, {len(findings)} findings")
        for finding, kept in findings.items():
            failed = True
            print(f"  {finding.where}: {finding.what}\n    {kept}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
