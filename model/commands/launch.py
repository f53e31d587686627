"""From what a command says to a run: data, vocabulary, configurations and tokenizer found, then training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from model.config import RunOptions, Settings
from model.data import open_stream, vocabulary_of
from model.device import pick_device
from model.initial import load_initial_model
from model.parallel import Place, first_goes_first, processes
from model.presets import from_preset
from model.resume import trained_so_far
from model.tokenizer import Tokenizer, adopt_tokenizer, find_tokenizer, run_tokenizer
from model.train import Summary, pretrain

Log = Callable[[str], None]


def launch(
    data: Path,
    run: Path,
    preset: str,
    shape: Mapping[str, Any],
    training: Mapping[str, Any],
    tokens: int | None,
    tokenizer: Path | None,
    options: RunOptions,
    command: dict[str, Any],
    log: Log,
    start: Path | None = None,
) -> Summary:
    """Train as `model pretrain` asks: by a preset, fields that differ from it, and perhaps a total of tokens; perhaps
    from the weights of another run, `start`.

    Under `torchrun` every process calls this. The first one prints, and does first what leaves something on the disk.
    """
    with processes(pick_device(options.device)) as place:
        say = log if place.first else _silent
        vocab_size = vocabulary_of(data)
        first = load_initial_model(start, run, say) if start else None
        rows, shape = (first.config.vocab_size, first.shape(shape)) if first else (vocab_size, shape)
        done = trained_so_far(run) if tokens else (0, 0)
        model_config, train_config = from_preset(preset, rows, shape, training, tokens, done)
        with first_goes_first(place):
            stream = open_stream(data, run, train_config.validation_fraction)
            if first:
                first.check(model_config, data, vocab_size, stream.tokenizer_hash)
            if first and tokenizer is None and (first.source / "tokenizer").exists():
                tokenizer = first.source / "tokenizer"
            codec = _codec(tokenizer, data, run, stream.tokenizer_hash, place)
        if codec is None:
            say("no tokenizer given or found next to the data: no samples, no bits a byte (see --tokenizer)")
        settings = Settings(model_config, train_config, options)
        return pretrain(stream, run, settings, say, codec, command, place, first)


def _codec(given: Path | None, data: Path, run: Path, tokenizer_hash: str, place: Place) -> Tokenizer | None:
    source = find_tokenizer(given, data)
    if source and place.first:
        return adopt_tokenizer(run, source, tokenizer_hash)
    return run_tokenizer(run)


def _silent(line: str) -> None:
    pass
