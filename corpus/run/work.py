"""What a unit does, for each kind of pass: the picklable works that an engine runs.

`ChainWork` takes a shard through fused stages; `TokenizerWork` trains the vocabulary; the barrier of deduplication is
in `work_dedup`. Each reads committed files, writes local ones and commits them with one record.
`memory` is what a unit is expected to need, in MiB: a cluster places units by it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from corpus.engine.base import Attempt, Unit
from corpus.run.chain import BATCH, Account, Chain, Rows, Step
from corpus.schema import DOCUMENTS, DROPPED, PAGES, Drop, dropped_rows
from corpus.store.files import sha256
from corpus.store.open import is_remote, local_path, open_path, split
from corpus.store.records import CommitRecord, Input, Output, account_errors, output_of
from corpus.store.shards import Dataset, ShardWriter


@dataclass(frozen=True)
class ChainWork:
    """Per-document stages over one shard: a WARC file, or a shard of the dataset `source`.

    `kind` is what comes out (documents, signatures, labels, tokens). With `labels`, what that dataset says of the
    documents is attached to them for the first step, whose module names the columns and their prefix; with `numbered`,
    the number of each row over all units.
    """

    name: str
    steps: tuple[Step, ...]
    output: str
    config_hash: str
    source: str | None  # None: the unit's input is a WARC file
    kind: str = "documents"
    labels: str | None = None
    numbered: bool = False
    keep_dropped_text: bool = False
    seconds: float = 30.0  # for one guarded piece of work
    memory: int = 2048

    def run(self, unit: Unit, attempt: Attempt) -> None:
        with _on_this_machine(self.steps) as steps:
            dataclasses.replace(self, steps=steps)._run(unit, attempt)

    def _run(self, unit: Unit, attempt: Attempt) -> None:
        began = time.monotonic()
        dataset = Dataset(self.output)
        chain = Chain(self.steps, attempt, self.seconds)
        pages, skipped = Account("warc"), Counter[str]()
        source = self._pages(unit, chain, pages, skipped) if self.source is None else self._documents(unit, chain)
        with dataset.storage.scratch() as folder:
            kept = ShardWriter(folder / "kept.parquet", self._schema(unit))
            sums = Counter(tokens=0) if self.kind == "tokens" else Counter[str]()
            for batch in chain.run(source):
                kept.write(batch)
                sums.update(self._sums(batch))
            kept.close(self._footer(sums["tokens"]))
            outputs, files = [kept.output(unit.key, self.kind)], [kept.path]
            if self.kind == "documents":
                dropped = ShardWriter(folder / "dropped.parquet", DROPPED_SCHEMAS[self.keep_dropped_text])
                for batch in chain.dropped().to_batches():
                    dropped.write(batch)
                dropped.close()
                outputs.append(dropped.output(unit.key, "dropped"))
                files.append(dropped.path)
            for step in self.steps:
                if getattr(step.config, "audit", False):
                    shown = ShardWriter(folder / "audit.parquet", importlib.import_module(step.module).AUDIT)
                    for batch in chain.audits:
                        shown.write(batch)
                    shown.close()
                    outputs.append(shown.output(unit.key, "audit"))
                    files.append(shown.path)
            accounts = [account.to_json() for account in ([pages] if self.source is None else []) + chain.accounts]
            for account in accounts:
                if account["stage"] in _SUMMED:
                    account |= sums
                if account["stage"] == pages.stage:
                    account |= {f"skipped_{kind}": count for kind, count in sorted(skipped.items())}
            _check_accounts(unit.key, accounts, outputs)
            commit(self, unit, attempt, began, accounts, outputs, files)

    def _pages(self, unit: Unit, chain: Chain, account: Account, skipped: Counter[str]) -> Iterator[Rows]:
        """One page at a time; records that are no whole page are dropped here, those that bear none are counted."""
        from corpus.warc.pages import Page, read_pages

        chain.warm_up(pa.RecordBatch.from_pylist([], schema=PAGES))
        path = unit.inputs[0].path
        with open_path(path) as stream:
            for ordinal, item in enumerate(read_pages(stream, warc_address(path), skipped=skipped)):
                account.read += 1
                if isinstance(item, Page):
                    account.kept += 1
                    yield Rows([ordinal], pa.RecordBatch.from_pylist([item._asdict()], schema=PAGES))
                else:
                    account.dropped[item.drop.rule] += 1
                    chain.drop(ordinal, _bad_record_row(item))
                chain.attempt.progress(
                    account.read, chain.accounts[-1].kept, stream.tell() / max(unit.inputs[0].size, 1)
                )

    def _documents(self, unit: Unit, chain: Chain) -> Iterator[Rows]:
        assert self.source is not None
        source = Dataset(self.source)
        shard = find_output(source, unit.key, "documents")
        # Named by the unit, because the records of the labels list those of many shards.
        labels = Dataset(self.labels).batches(unit.inputs[1].path, BATCH, self._label_names()) if self.labels else None
        start = 0
        for batch in source.batches(shard, BATCH):
            if labels is not None:
                batch = _attach(batch, next(labels, None), importlib.import_module(self.steps[0].module).PREFIX)
            if self.numbered:
                batch = _numbered(batch, unit.inputs[1].size + start)
            if start == 0:
                chain.warm_up(batch.slice(0, 0))
            yield Rows(list(range(start, start + batch.num_rows)), batch)
            start += batch.num_rows
            chain.attempt.progress(start, chain.accounts[-1].kept, start / max(shard.rows, 1))

    def _label_names(self) -> list[str]:
        first = self.steps[0]
        return ["id", *importlib.import_module(first.module).labels(first.config)]

    def _sums(self, batch: pa.RecordBatch) -> dict[str, int]:
        """What else there is to count in what is kept."""
        if self.kind == "tokens":
            return {"tokens": _token_count(batch)}
        if prescreen := next((step for step in self.steps if step.stage == "prescreen"), None):
            from corpus.language.prescreen import under_threshold

            return {"sampled_kept": under_threshold(batch, prescreen.config)}
        if self.kind == "signatures" and "shingles" in batch.schema.names:
            counts = batch.column("shingles")
            return {"shingles": pc.sum(counts).as_py() or 0, "wordless": pc.sum(pc.equal(counts, 0)).as_py() or 0}
        return {"lines_removed": pc.sum(batch.column("lines_removed")).as_py() or 0} if self.numbered else {}

    def _schema(self, unit: Unit) -> pa.Schema:
        if self.kind != "documents":
            schema: pa.Schema = importlib.import_module(self.steps[-1].module).schema(self.steps[-1].config)
            return schema
        schema = DOCUMENTS
        if self.source is not None:
            source = Dataset(self.source)
            shard = find_output(source, unit.key, "documents")
            schema = source.schema(shard)
        for step in self.steps:
            module = importlib.import_module(step.module)
            for added in module.columns(step.config) if hasattr(module, "columns") else getattr(module, "COLUMNS", ()):
                if added.name not in schema.names:
                    schema = schema.append(added)
        return schema

    def _footer(self, tokens: int) -> dict[str, str] | None:
        if self.kind != "tokens":
            return None
        footer: dict[str, str] = importlib.import_module(self.steps[-1].module).footer(self.steps[-1].config, tokens)
        return footer


_SUMMED = {"tokens", "signatures", "lines", "prescreen"}  # stages that count more than documents
DROPPED_SCHEMAS = {True: DROPPED, False: DROPPED.remove(DROPPED.get_field_index("text"))}


def check_whole(dataset: Dataset, kind: str, planned: Input) -> None:
    """Raises ValueError if a dataset's files of one kind are not those that a unit was planned for."""
    if dataset.whole(kind) != planned:
        raise ValueError(f"{dataset.path}: its {kind} are not those that were there when this was planned; run again")


@dataclass(frozen=True)
class TokenizerWork:
    """All documents in, one vocabulary out."""

    name: str
    config: Any  # corpus.run.recipe.TokenizerConfig
    output: str
    config_hash: str
    source: str
    memory: int = 4096

    def run(self, unit: Unit, attempt: Attempt) -> None:
        from bpe.files import save_vocabulary
        from bpe.sources import sampled
        from bpe.train import train

        began = time.monotonic()
        source, dataset = Dataset(self.source), Dataset(self.output)
        check_whole(source, "documents", unit.inputs[0])
        rows = 0

        def texts() -> Iterator[pa.Array]:
            nonlocal rows
            for shard in source.files("documents"):
                for batch in source.batches(shard, 1024, columns=["text"]):
                    rows += batch.num_rows
                    yield batch.column("text")

        # What a vocabulary is learnt from must fit; what is counted on the way may go to disk.
        memory = (self.memory - 1024) << 20
        taken = sampled(texts(), self.config.sample)
        vocabulary = train(taken, self.config.vocab_size, pattern=self.config.pattern, memory=memory)
        counts = [{"stage": "tokenizer", "read": rows, "kept": rows, "dropped": {}, "symbols": vocabulary.size}]
        with dataset.storage.scratch() as folder:
            save_vocabulary(vocabulary, folder / "tokenizer")
            files = sorted((folder / "tokenizer").iterdir())
            outputs = [Output(file.name, "vocabulary", 0, file.stat().st_size, sha256(file)) for file in files]
            for output in outputs:  # these names do not tell contents apart
                there = dataset.storage.read(output.path)
                if there is not None and hashlib.sha256(there).hexdigest() != output.sha256:
                    path = f"{self.output}/{output.path}"
                    raise ValueError(f"{path}: another vocabulary; use another output folder, or remove this one")
            commit(self, unit, attempt, began, counts, outputs, files)


@contextlib.contextmanager
def _on_this_machine(steps: Sequence[Step]) -> Iterator[tuple[Step, ...]]:
    """The steps, with what their settings name fetched where it is in an object store."""
    with contextlib.ExitStack() as stack:
        local = []
        for step in steps:
            paths = {item.name: getattr(step.config, item.name) for item in dataclasses.fields(step.config)}
            fetched = {
                name: str(stack.enter_context(local_path(path)))
                for name, path in paths.items()
                if isinstance(path, str) and is_remote(path)
            }
            local.append(step._replace(config=dataclasses.replace(step.config, **fetched)) if fetched else step)
        yield tuple(local)


def warc_address(path: str) -> str:
    """The WARC's own address: where it was fetched from, if a receipt beside it says so, else its path."""
    place, name = split(path)
    receipt = place.read(f"_units/{name}.json")
    if receipt is None:
        return path
    try:
        return str(json.loads(receipt)["inputs"][0]["path"])
    except (ValueError, KeyError, IndexError) as error:
        raise ValueError(
            f"{place.root}/_units/{name}.json: not a receipt of a fetched file ({error}); remove it, or fetch again"
        ) from None


def find_output(dataset: Dataset, unit: str, kind: str) -> Output:
    """The committed file of a unit. Raises ValueError if there is none."""
    record = dataset.record(unit)
    if record and (output := record.output(kind)):
        return output
    raise ValueError(f"{dataset.path}: no committed {kind} for unit {unit}")


class Named(Protocol):
    """A work that commits to a dataset."""

    @property
    def name(self) -> str: ...

    @property
    def output(self) -> str: ...

    @property
    def config_hash(self) -> str: ...


def commit(
    work: Named,
    unit: Unit,
    attempt: Attempt,
    began: float,
    counts: list[dict[str, Any]],
    outputs: list[Output],
    files: list[Path],
) -> None:
    """Publish finished files, and the record of them."""
    record = CommitRecord(
        unit=unit.key,
        stage=work.name,
        config=work.config_hash,
        inputs=unit.inputs,
        outputs=tuple(outputs),
        counts=tuple(counts),
        attempt=attempt.number,
        seconds=round(time.monotonic() - began, 3),
    )
    Dataset(work.output).commit(record, files)


def commit_file(
    work: Named,
    unit: Unit,
    attempt: Attempt,
    began: float,
    path: Path,
    kind: str,
    rows: int,
    documents: int,
    **sums: int,
) -> None:
    """Publish the one file of a unit, which has so many rows, and its record: all documents were read and kept."""
    output = output_of(path, unit.key, kind, rows, path.suffix[1:] or kind)
    counts: dict[str, Any] = {"stage": work.name, "read": documents, "kept": documents, "dropped": {}}
    commit(work, unit, attempt, began, [counts | sums], [output], [path])


def _attach(batch: pa.RecordBatch, labels: pa.RecordBatch | None, prefix: str) -> pa.RecordBatch:
    if labels is None or labels.num_rows != batch.num_rows or labels.column("id") != batch.column("id"):
        raise ValueError("labels do not belong to these documents; remove the folders of the passes before this one")
    for name in labels.schema.names[1:]:
        batch = batch.append_column(f"{prefix}{name}", labels.column(name))
    return batch


def _numbered(batch: pa.RecordBatch, first_row: int) -> pa.RecordBatch:
    from corpus.schema import ROW

    return batch.append_column(ROW, pa.array(range(first_row, first_row + batch.num_rows), pa.uint64()))


def _bad_record_row(item: Any) -> pa.RecordBatch:
    row = {
        "id": item.id,
        "url": item.url,
        "file_path": item.file_path,
        "warc_offset": item.warc_offset,
    }
    batch = pa.RecordBatch.from_pylist([row], schema=pa.schema([PAGES.field(name) for name in row]))
    drop: Drop = item.drop
    return dropped_rows(batch, "warc", {0: drop})


def _token_count(batch: pa.RecordBatch) -> int:
    if "tokens" not in batch.schema.names:
        return 0
    column = batch.column("tokens")
    return int(column.offsets[-1].as_py() - column.offsets[0].as_py())


def _check_accounts(unit: str, accounts: list[dict[str, Any]], outputs: list[Output]) -> None:
    """read = kept + dropped over the whole chain, and the files hold what the accounts say. Else: our bug."""
    for problem in account_errors(accounts):
        raise RuntimeError(f"unit {unit}: {problem}")
    rows = {output.kind: output.rows for output in outputs}
    dropped = sum(sum(account["dropped"].values()) for account in accounts)
    if accounts[-1]["kept"] != outputs[0].rows or rows.get("dropped", 0) != dropped:
        raise RuntimeError(f"unit {unit}: accounts {accounts[-1]['kept']} + {dropped}, files hold {rows}")
