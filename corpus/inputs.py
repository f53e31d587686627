"""What do these paths name? WARC files, a dataset of documents, or other people's files of documents.

In: the paths and patterns of a command line. Out: a `Source`, and for each kind of source its units and what reads
them. Every command that reads documents asks here, so that a folder of Parquet can stand wherever the output of an
earlier command can.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import Any

from bpe import arguments
from corpus.engine.base import Unit
from corpus.run.chain import Step
from corpus.run.plan import Source, document_units, documents_of
from corpus.run.work import Documents, Reader
from corpus.schema import Drop
from corpus.sources.columns import Columns
from corpus.sources.plan import SourceFiles, is_source, open_sources
from corpus.store.inputs import input_at
from corpus.store.open import check_name, expand, is_dir, storage
from corpus.store.shards import Dataset
from corpus.warc.source import WarcPages, warc_files

_WARC_NAME = re.compile(r"\.(warc|wet)(\.gz|\.zst)?$|\.(gz|zst)$")
# Bytes of a unit's name: those of a file's name, less what the names of its files add to it (-<sha12>-<sha12>.parquet).
_LONGEST = 255 - 35
_LABEL = "corpus.language.label"  # the module of the step that names the language of documents that have none


def find_source(inputs: Sequence[str], columns: Columns | None = None) -> Source:
    """What the command line names: WARC files or folders of them, one dataset of documents, or files of documents.

    Raises FileNotFoundError or ValueError naming the input, also for a name that no record could hold.
    """
    sources = find_sources(inputs, columns)
    datasets = [source.dataset for source in sources if source.dataset]
    if len(sources) == len(datasets) > 1:
        raise ValueError(
            f"{datasets[0]}: one folder of documents at a time; corpus import joins several, "
            "and the next one may go --against an index of this"
        )
    if len(sources) > 1:
        raise ValueError(f"{', '.join(inputs)}: these are of several kinds; corpus import makes one dataset of them")
    return sources[0]


def find_sources(inputs: Sequence[str], columns: Columns | None = None) -> list[Source]:
    """What the command line names, a Source for all WARC files, one for all files of documents, one for each dataset.

    Raises FileNotFoundError or ValueError as `find_source` does.
    """
    warcs: dict[str, None] = {}
    files: dict[str, None] = {}
    datasets: dict[str, None] = {}
    for pattern in inputs:
        named = {path.rstrip("/") or "/": _kind(path.rstrip("/") or "/") for path in expand([pattern])}
        for path, kind in named.items():
            if kind == "dataset":
                datasets[path.rstrip("/")] = None
            elif kind == "warc":
                warcs.update(dict.fromkeys(warc_files(path) if is_dir(path) else [path]))
        own = [path for path, kind in named.items() if kind == "file"]
        # A pattern says which part of the paths stays the same: files are named by the rest.
        files.update(dict.fromkeys([pattern] if own and len(own) == len(named) else own))
    for path in warcs:
        check_name(path)
    sources = [Source(warcs=tuple(warcs))] if warcs else []
    sources += [Source(files=open_sources(list(files), columns or Columns()))] if files else []
    return sources + [Source(dataset=path) for path in datasets]


def find_warcs(inputs: Sequence[str], command: str) -> Source:
    """The WARC files that the command line names, for a command that reads nothing else.

    Raises FileNotFoundError or ValueError naming the input.
    """
    warcs: dict[str, None] = {}
    for path in expand(list(inputs)):
        is_folder = is_dir(path)
        inside = warc_files(path) if is_folder else [path]
        if (not inside and is_dir(f"{path}/_units")) or (not is_folder and is_source(path)):
            raise ValueError(f"{path}: holds documents already; {command} reads WARC files")
        if not inside:
            raise ValueError(f"{path}: holds no .warc or .wet files (.gz, .zst)")
        warcs.update(dict.fromkeys(inside))
    for path in warcs:
        check_name(path)
    return Source(warcs=tuple(warcs))


def _kind(path: str) -> str:
    """warc, file or dataset. Raises ValueError for a folder that holds no documents, or a whole run."""
    if not is_dir(path):
        return "file" if is_source(path) else "warc"
    if is_dir(f"{path}/_units"):
        if _holds_documents(path):
            return "dataset"
        kinds = sorted({output.kind for record in Dataset(path).scan() for output in record.outputs})
        raise ValueError(f"{path}: holds no committed documents, but {', '.join(kinds) or 'nothing'}")
    inside = [folder for folder in storage(path).folders("") if is_dir(f"{path}/{folder}/_units")]
    if inside:
        best = "clean" if "clean" in inside else inside[-1]
        raise ValueError(f"{path}: is the folder of a whole run; name a dataset in it, such as {path}/{best}")
    return "warc" if warc_files(path) else "file"


def _holds_documents(folder: str) -> bool:
    first = next(Dataset(folder).scan(), None)
    return first is not None and first.output("documents") is not None


def source_keys(source: Source) -> list[str]:
    """The units that a source makes, sorted. Raises ValueError if it has no documents."""
    if source.files:
        return source.files.keys()
    return sorted(_by_key(source.warcs)) if source.warcs else documents_of(source.dataset or "")


def source_units(source: Source) -> Callable[[Sequence[str]], list[Unit]]:
    """A function that makes units of the keys of a source."""
    if source.files:
        return source.files.units
    return _warc_units(source.warcs) if source.warcs else document_units(source.dataset or "")


def source_reader(source: Source) -> Reader:
    """What reads the rows of the units of a source."""
    if source.files:
        return source.files.reader()
    return WarcPages() if source.warcs else Documents.of(source.dataset or "")


def read_documents(
    inputs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    columns: Columns | None = None,
    *,
    on_bad: Callable[[str, Drop], object] | None = None,
) -> Iterator[dict[str, Any]]:
    r"""The documents in files of any kind, a dict each, with the columns that every dataset of documents has.

    inputs   Parquet, JSON lines, CSV, plain text (also .gz, .zst, .bz2, .xz), folders of them, patterns; local or in an
             object store; or folders that a command of ours has written
    columns  which column is the text, and so on, where the names do not say it: `Columns(text="content")`
    on_bad   called with the id of a row that is no document, such as a line that is no JSON, and with the reason

    Rows come in the order of the files' names. In memory is a part of a file. Raises FileNotFoundError where nothing is
    there, and ValueError naming the file for one without a text column, and for WARC files, which `read_pages` reads.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from corpus import Columns, read_documents
    >>> with TemporaryDirectory() as folder:
    ...     _ = Path(folder, "a.jsonl").write_text('{"content": "Ahoy!", "link": "https://a.example/"}')
    ...     documents = list(read_documents(folder, Columns(text="content", rename=(("url", "link"),))))
    >>> [(document["id"], document["text"], document["url"]) for document in documents]
    [('a.jsonl@0', 'Ahoy!', 'https://a.example/')]
    """
    if columns is not None:
        arguments.instance("columns", columns, Columns, "of corpus")
    arguments.function("on_bad", on_bad)
    with arguments.without_flags():
        sources = find_sources(arguments.paths("inputs", inputs), columns)
    if warcs := next((source.warcs for source in sources if source.warcs), ()):
        raise ValueError(f"{warcs[0]}: a WARC file holds pages and no documents; read_pages reads it")
    return (row for source in sources for row in _rows(source, on_bad))


def _rows(source: Source, on_bad: Callable[[str, Drop], object] | None) -> Iterator[dict[str, Any]]:
    if not isinstance(source.files, SourceFiles):
        yield from Dataset(source.dataset or "").rows()
        return
    reader = source.files.reader()
    for unit in source.files.units(source.files.keys()):
        for batch, drops in reader.batches(unit):
            for row, document in enumerate(batch.to_pylist()):
                if row not in drops:
                    yield document
                elif on_bad is not None:
                    on_bad(document["id"], drops[row])


def with_languages(source: Source, steps: Sequence[Step]) -> tuple[Step, ...]:
    """The steps, with one before them that names the languages of documents where a step asks for them.

    Documents of [extract] and [language] have a language. Other people's files may lack it, and then the rules that
    judge by language would judge all documents alike.
    """
    names = [step.stage for step in steps]
    asks = next((at for at, step in enumerate(steps) if step.contract.by_language(step.config)), None)
    if not source.files or asks is None or "language" in names[:asks]:
        return tuple(steps)
    from corpus.language.label import Config

    return (Step("label", _LABEL, Config()), *steps)


def _by_key(paths: Sequence[str]) -> dict[str, str]:
    """A unit a WARC file; its key is the file's name, so that adding a file later disturbs no other."""
    found: dict[str, str] = {}
    for path in paths:
        key = re.sub(r"[^\w.-]", "_", _WARC_NAME.sub("", PurePosixPath(path).name))
        if key in found:
            raise ValueError(f"{path}: has the same name as {found[key]}; rename one of them")
        if (length := len(key.encode())) > _LONGEST:
            raise ValueError(f"{path}: its name without the ending has {length} bytes; rename it to {_LONGEST} at most")
        found[key] = path
    return found


def _warc_units(paths: Sequence[str]) -> Callable[[Sequence[str]], list[Unit]]:
    found = _by_key(paths)

    def units(keys: Sequence[str]) -> list[Unit]:
        with ThreadPoolExecutor(16) as pool:  # 90,000 requests, one after the other, take half an hour
            files = pool.map(input_at, [found[key] for key in keys])
            return [Unit(key, (file,)) for key, file in zip(keys, files, strict=True)]

    return units
