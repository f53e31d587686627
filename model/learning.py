"""Training from Python: `write_tokens` makes training data of texts, and `pretrain` does what `model pretrain` does.

Nothing is printed unless `log` is given, errors are exceptions, and the process goes on.
"""

from __future__ import annotations

import dataclasses
import filecmp
import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bpe import arguments
from bpe.checksums import add_checksums
from bpe.texts import SEVERAL_TEXTS, utf8
from bpe.tokenizer import Tokenizer
from bpe.whole import make_folder, whole
from corpus.schema import tokens_schema
from corpus.store.local import check_below
from model.config import ModelConfig, RunOptions, TrainConfig, check_field
from model.launch import Request, launch
from model.train import Summary

SHARD = "part-00000.parquet"
# Options that the command has under another name.
_FLAGS = {"sample_prompts": "sample_prompt", "keep_checkpoints": "keep", "trackers": "track"}


def write_tokens(texts: Iterable[str], tokenizer: Tokenizer, output: str | Path) -> Path:
    """Encode texts that are in memory and write them as training data. Returns the folder to give to `pretrain`.

    Each text is a document. Written are `output`/tokens with one TOKENS shard and `output`/tokenizer. This is for small
    data in one process; `corpus tokenize` does it for a whole corpus.

    Raises TypeError if `texts` is a single string, ValueError if there is no text or the tokenizer names
    no token that ends a text, and FileExistsError if `output` holds another tokenizer or the tokens of other texts.

    >>> import tempfile
    >>> import bpe
    >>> from model import write_tokens
    >>> texts = ["low lower", "new newer"]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tokens = write_tokens(texts, bpe.train_tokenizer(texts, 260), folder)
    ...     [file.name for file in tokens.iterdir()]
    ['part-00000.parquet']
    """
    items = arguments.several("texts", texts, SEVERAL_TEXTS)
    contents = [utf8(arguments.string(f"texts[{index}]", text)) for index, text in enumerate(items)]
    if not contents:
        raise ValueError("texts: there is no text; pass at least one")
    output = arguments.path("output", output)
    arguments.instance("tokenizer", tokenizer, Tokenizer, "of the package bpe")
    vocabulary, folder = tokenizer.vocabulary, Path(output, "tokens")
    for part in (folder, Path(output, "tokenizer")):
        check_below(output, part)
    if any(path.name != SHARD for path in folder.glob("**/*.parquet")):
        raise FileExistsError(f"{folder}: holds other shards, which would be trained on too; choose another output")
    tokens = tokenizer.encode_arrow(pa.array(contents, pa.large_binary()).cast(pa.large_string()))
    footer = {
        "tokenizer_hash": vocabulary.hash,
        "vocab_size": str(vocabulary.size),
        "end_of_text": str(tokenizer.eot_token),
        "token_total": str(len(tokens.flatten())),
    }
    # The id decides whether a document is held out: equal texts have equal ids.
    ids = [hashlib.blake2b(content, digest_size=16).hexdigest() for content in contents]
    schema = tokens_schema(vocabulary.size).with_metadata(footer)
    tokenizer.save(Path(output, "tokenizer"))
    make_folder(folder)
    with whole(folder / SHARD) as partial:
        table = pa.Table.from_arrays([pa.array(ids), tokens.cast(schema.field("tokens").type)], schema=schema)
        pq.write_table(table, partial, write_page_checksum=True)
        with partial.open("r+b") as file:
            add_checksums(file)
        if (folder / SHARD).exists() and not filecmp.cmp(folder / SHARD, partial, shallow=False):
            raise FileExistsError(f"{folder}: holds the tokens of other texts; remove it, or choose another output")
    return folder


def pretrain(
    data: str | Path,
    output: str | Path,
    *,
    preset: str = "tiny",
    steps: int | None = None,
    tokens: int | None = None,
    tokenizer: str | Path | None = None,
    start: str | Path | None = None,
    log: Callable[[str], None] | None = None,
    **settings: Any,
) -> Summary:
    """Train a model on token shards, or continue the run in `output`, as `model pretrain` does.

    `data` is a folder of TOKENS shards, of `corpus tokenize` or `write_tokens`. `output` is the run directory: it gets
    checkpoints, metrics and samples, and a run that is there is continued. `preset` is a name in `PRESETS`. The run has
    so many `steps` (updates) or `tokens` in all; without both, as many as the preset. `tokenizer` is the folder of the
    shards' tokenizer, by default `tokenizer` beside `data`. `start` is a run whose weights and shape the new run begins
    with. `settings` are any fields of `ModelConfig`, `TrainConfig` and `RunOptions` by name: context=128, lr=3e-4,
    device="cpu", validate_every=0. `log` gets the lines that the command prints.

    The answer is the `Summary` that `model pretrain --json` prints: `run`, `step`, `loss` and `validation_loss` (nats a
    token), `bits_per_byte`, `tokens_per_second` and more. If the run in `output` has as many steps already, or more, no
    update is made: `step` is the run's own, and `loss`, `validation_loss` and `bits_per_byte` are the last ones that
    metrics.jsonl has.

    In the main thread, Ctrl-C or SIGTERM ends the training after the current update with a checkpoint, and then raises
    KeyboardInterrupt; the same call continues the run. A second Ctrl-C ends it at once. Afterwards the signal handlers
    are those from before. In any other thread, signals are left alone. PyTorch's global generator is seeded.

    Raises TypeError for a setting that is unknown or of the wrong type, ValueError for one that is out of bounds, for
    both `steps` and `tokens`, if `output` is `data`, and if `output` holds a run with other settings or data;
    FileNotFoundError if there is no such folder; FloatingPointError if training diverges.

    >>> import tempfile
    >>> import bpe
    >>> from model import pretrain, write_tokens
    >>> texts = [f"{n} sheep and {n + 1} goats are {2 * n + 1} animals." for n in range(200)]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tokens = write_tokens(texts, bpe.train_tokenizer(texts, 300), folder)
    ...     summary = pretrain(tokens, f"{folder}/run", steps=4, context=32, batch_tokens=128, layers=1, device="cpu")
    >>> summary.step, summary.parameters, 0 < summary.loss < 9
    (4, 238080, True)
    """
    arguments.function("log", log)
    steps = None if steps is None else arguments.whole_number("steps", steps, 1)
    tokens = None if tokens is None else arguments.whole_number("tokens", tokens, 1)
    shape, training, options = _sorted_settings(settings)
    output, given = arguments.path("output", output), {"data": data, "tokenizer": tokenizer, "start": start}
    paths = {
        name: None if path is None and name != "data" else Path(arguments.path(name, path))
        for name, path in given.items()
    }
    arguments.check_apart([data], output)
    # What `model pretrain --resume` needs to continue the run.
    command: dict[str, Any] = {name: path and str(path.absolute()) for name, path in paths.items()}
    command |= {"preset": preset, "steps": steps, "tokens": tokens}
    command |= {"settings": [f"{name}={_written(value)}" for name, value in (shape | training).items()]}
    command |= {_FLAGS.get(name, name): value for name, value in options.items()}
    request = Request(
        data=Path(data),
        run=Path(output),
        preset=preset,
        shape=shape,
        training=training | ({} if steps is None else {"steps": steps}),
        tokens=tokens,
        tokenizer=paths["tokenizer"],
        start=paths["start"],
        command=command,
    )
    with arguments.without_flags():
        summary = launch(request, RunOptions(**options), arguments.without_flags_in(log or _silent))
    if summary.stopped:
        raise KeyboardInterrupt(f"stopped after step {summary.step} of {summary.steps}; the same call continues")
    return summary


def _sorted_settings(settings: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Fields of ModelConfig, of TrainConfig and of RunOptions. Raises TypeError for a wrong name or type."""
    kinds = [_fields_of(kind) for kind in (ModelConfig, TrainConfig, RunOptions)]
    del kinds[0]["vocab_size"], kinds[1]["steps"]  # that of the data, and an argument of its own
    chosen: tuple[dict[str, Any], ...] = ({}, {}, {})
    for name, value in settings.items():
        number = next((number for number, types in enumerate(kinds) if name in types), None)
        if number is None:
            known = ", ".join(sorted(name for types in kinds for name in types))
            raise TypeError(f"{name} = {value!r}: no such setting; there are {known}")
        chosen[number][name] = check_field(name, kinds[number][name], value)
    shape, training, options = chosen
    return shape, training, options


def _written(value: Any) -> str:
    """A value as `model pretrain --set` reads it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _fields_of(kind: Any) -> dict[str, str]:
    """The types of a dataclass's fields, as they are written, by name."""
    return {field.name: str(field.type) for field in dataclasses.fields(kind)}


def _silent(line: str) -> None:
    pass
