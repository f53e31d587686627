"""Sound folders of metadata, and how the commands read them: for the fuzzer and its tests."""

from __future__ import annotations

import io
import json
import os
import tempfile
from pathlib import Path
from typing import Any

# ---- Datasets ----


def make_records(folder: Path) -> None:
    """Two committed units with documents and dropped rows, and an unfinished third."""
    import pyarrow as pa

    from corpus.schema import DOCUMENTS, DROPPED
    from corpus.store.records import CommitRecord, Input
    from corpus.store.shards import Dataset, ShardWriter

    dataset = Dataset(folder)
    digest = dataset.begin({"order": ["c4"], "c4": {"min_words": 3}, "versions": {"corpus": "1"}})
    for unit in ("a", "b"):
        with dataset.storage.scratch() as scratch:
            kept, dropped = ShardWriter(scratch / "kept", DOCUMENTS), ShardWriter(scratch / "dropped", DROPPED)
            kept.write(
                pa.RecordBatch.from_pylist([{"text": "a", "id": f"<{unit}{row}>"} for row in range(3)], DOCUMENTS)
            )
            dropped.write(pa.RecordBatch.from_pylist([{"id": "<x>", "stage": "c4", "rule": "c4.x"}], DROPPED))
            kept.close()
            dropped.close()
            outputs = kept.output(unit, "documents"), dropped.output(unit, "dropped")
            counts = {"stage": "c4", "read": 4, "kept": 3, "dropped": {"c4.x": 1}}
            source = Input(f"{folder}/in/{unit}.parquet", 10, "0" * 32)
            dataset.commit(
                CommitRecord(unit, "filter", digest, (source,), outputs, (counts,)), [kept.path, dropped.path]
            )


def make_manifest(folder: Path) -> None:
    from corpus.store.shards import Dataset

    make_records(folder)
    Dataset(folder).compact()


def read_records(folder: Path) -> None:
    """As `corpus verify`, `corpus gc` and every command that reads documents do."""
    from corpus.store.base import Entry
    from corpus.store.manifest import to_bytes
    from corpus.store.shards import Dataset
    from corpus.store.verify import datasets_below, orphans, verify

    for dataset in datasets_below(str(folder)):
        verify(dataset)
        orphans(dataset, 0)
    dataset = Dataset(folder)
    dataset.units()
    for record in dataset.records():
        dataset.configuration(record.config)
    # What `compact` writes: whatever is accepted can be written again.
    to_bytes((Entry(f"_units/{record.unit}.json", 0, "", 0.0), record) for record in dataset.records())
    for kind in ("documents", "dropped"):
        for _ in dataset.rows(kind):
            pass


# ---- Recipes ----


def make_recipe(folder: Path) -> None:
    (folder / "mine.toml").write_text(
        'name = "mine"\nkeep_dropped_text = true\n[urls]\n[extract]\nfavor = "precision"\n'
        '[language]\nlanguages = ["en", "de"]\nthreshold = 0.65\n[gopher_quality]\nmin_words = 30\nmax_words = "off"\n'
        '[fineweb]\n[dedup]\npreset = "fineweb"\nkeep = "longest"\n[lines]\nmatch = "exact"\n[scrub]\n'
        "[tokenizer]\nvocab_size = 4096\n",
        encoding="utf-8",
    )


def read_recipe(folder: Path) -> None:
    """As `corpus run` does before it runs anything."""
    from corpus.run.recipe import describe, load_recipe

    describe(load_recipe(folder / "mine.toml", [("language", "threshold", 0.5)]).written)


# ---- Vocabularies ----

_TEXT = "Hello, we'll see 2,048 of them: 中文, naïve <|endoftext|>\n" * 20


def make_tokenizers(folder: Path) -> None:
    """A small vocabulary in each form that is read."""
    from bpe.export import export_files
    from bpe.files import save_vocabulary
    from bpe.library import train_tokenizer

    vocabulary = train_tokenizer([_TEXT], 280, pattern="gpt2").vocabulary
    save_vocabulary(vocabulary, folder / "own")
    for to in ("hf", "gpt2", "tiktoken"):
        (folder / to).mkdir()
        for name, content in export_files(vocabulary, to).items():
            (folder / to / name).write_bytes(content)


def read_tokenizers(folder: Path) -> None:
    """As `bpe import`, `bpe encode` and `bpe decode` do. The forms are independent; the first error is raised last."""
    from bpe.tokenizer import Tokenizer

    errors = []
    for path, pattern in (("own", None), ("hf", None), ("gpt2", None), ("tiktoken/ranks.tiktoken", "gpt2")):
        try:
            tokenizer = Tokenizer.load(folder / path, pattern)
            tokenizer.decode(tokenizer.encode(_TEXT, allowed_special="all"))
        except (ValueError, OSError) as error:
            errors.append(error)
    if errors:
        raise errors[0]


# ---- Runs and models ----


def _small() -> Any:
    from model.config import ModelConfig

    return ModelConfig(280, context=16, layers=1, width=32, heads=2, kv_heads=1, head_dim=16, mlp_width=64)


def _training() -> Any:
    from model.config import TrainConfig

    return TrainConfig(steps=3, batch_tokens=64, lr=0.01, warmup_steps=1)


def _identity(tokenizer_hash: str) -> dict[str, Any]:
    """What a run is told apart by from others."""
    from model.config import as_dict

    return {
        "model": as_dict(_small()),
        "train": as_dict(_training()),
        "data": {"fingerprint": "f00", "tokenizer_hash": tokenizer_hash, "end_of_text": 279},
    }


def _learner() -> Any:
    """A small model that has made one update, with its optimizers and its guard."""
    import torch

    from model.gpt import GPT
    from model.guard import Guard
    from model.optim import make_optimizers
    from model.resume import Learner

    model, guard = GPT(_small()), Guard(6.0)
    optimizers = make_optimizers(model, _training())
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    for optimizer in optimizers:
        optimizer.step()
    guard.judge(5.0, 1.0)
    return Learner(model, optimizers, guard)


def make_checkpoint(folder: Path) -> None:
    """A run of three steps that were not made."""
    import torch

    from bpe.files import save_vocabulary
    from bpe.library import train_tokenizer
    from model.checkpoint import save
    from tests.support.model_runs import steps

    vocabulary = train_tokenizer([_TEXT], 280, pattern="gpt2").vocabulary
    save_vocabulary(vocabulary, folder / "tokenizer")
    identity = _identity(vocabulary.hash)
    learner = _learner()
    state = {
        "position": 3,
        "weights": learner.model.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in learner.optimizers],
        "guard": learner.guard.state(),
        "rng": {"cpu": torch.get_rng_state(), "cuda": []},
    }
    (folder / "config.json").write_text(json.dumps(identity))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in steps(3, tokens=64)))
    save(folder, 3, {**identity, **state}, keep=1)


def read_checkpoint(folder: Path) -> None:
    """As `model sample`, `model plot` and a resumed `model pretrain` do."""
    from model.checkpoint import truncate_metrics
    from model.history import read_runs
    from model.plot import page, summary
    from model.resume import find_resume_point, restore, trained_so_far
    from model.using import generate, load_model

    runs = read_runs([folder])
    page(runs)
    json.dumps(summary(runs, folder))
    trained_so_far(folder)
    loaded = load_model(folder, device="cpu")
    generate(loaded, "Hello", max_tokens=1)
    assert loaded.tokenizer is not None
    point = find_resume_point(folder, _identity(loaded.tokenizer.vocabulary.hash), lambda line: None)
    if point is not None:
        learner = _learner()
        restore(point, learner)
        for optimizer in learner.optimizers:
            optimizer.step()
        learner.guard.judge(5.0, 1.0)
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch, "metrics.jsonl")
        copy.write_bytes((folder / "metrics.jsonl").read_bytes())
        truncate_metrics(copy, 2, lambda line: None)


def make_model(folder: Path) -> None:
    """A model in Hugging Face's format."""
    from bpe.library import train_tokenizer
    from model.gpt import GPT
    from model.hf import export
    from model.tokenizer import Tokenizer

    vocabulary = train_tokenizer([_TEXT], 280, pattern="gpt2").vocabulary
    export(GPT(_small()), folder, 279, Tokenizer(vocabulary))


def read_model(folder: Path) -> None:
    """As `model import` does."""
    from model.hf import import_folder

    with tempfile.TemporaryDirectory() as scratch:
        import_folder(folder, Path(scratch, "run"))


# ---- Checkpoints ----


def unsealed(data: bytes) -> Any:
    """The values in a checkpoint; weights are lists of numbers no more, and stay tensors."""
    import torch

    return torch.load(io.BytesIO(data), weights_only=True)


def sealed(state: Any) -> bytes:
    """A checkpoint of these values, whose hash is right."""
    import torch

    target = io.BytesIO()
    torch.save(state, target)
    return _sealed(target.getvalue())


def resealed(data: bytes) -> bytes:
    """A checkpoint whose bytes were changed, with the hash of the changed bytes."""
    from model.checkpoint import DIGEST_BYTES

    return _sealed(data[:-DIGEST_BYTES]) if len(data) > 2 * DIGEST_BYTES else data


def _sealed(data: bytes) -> bytes:
    from model.checkpoint import seal

    descriptor, name = tempfile.mkstemp()
    os.close(descriptor)
    try:
        Path(name).write_bytes(data)
        seal(Path(name))
        return Path(name).read_bytes()
    finally:
        Path(name).unlink()
