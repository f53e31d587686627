"""A request for training -> a run: finds data, vocabulary, settings and tokenizer, then trains.

The command `model pretrain` and the function `model.pretrain` make the request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from model.config import RunOptions, Settings
from model.data import open_stream, vocabulary_of
from model.device import pick_device
from model.initial import load_initial_model
from model.parallel import Place, first_goes_first, processes
from model.presets import from_preset
from model.resume import trained_so_far
from model.stream import Stream
from model.tokenizer import Tokenizer, adopt_tokenizer, find_tokenizer, run_tokenizer
from model.train import Summary, pretrain

Log = Callable[[str], None]


class Request(NamedTuple):
    """What a run is asked for: a preset, the fields that differ from it, and where to read and write."""

    data: Path
    run: Path
    preset: str
    shape: Mapping[str, Any]  # fields of ModelConfig
    training: Mapping[str, Any]  # fields of TrainConfig
    tokens: int | None  # in all; None: as many as the steps need
    tokenizer: Path | None
    start: Path | None  # run whose weights are the first ones
    command: dict[str, Any]  # the options as they are stored, for --resume


def launch(request: Request, options: RunOptions, log: Log) -> Summary:
    """Train as the request asks.

    Under `torchrun` every process calls this. The first one prints, and goes first where something is written to disk.
    """
    data, run, tokenizer = request.data, request.run, request.tokenizer
    with processes(pick_device(options.device)) as place:
        say = log if place.first else _silent
        vocab_size = vocabulary_of(data)
        first = load_initial_model(request.start, run, say) if request.start else None
        rows, shape = (first.config.vocab_size, first.shape(request.shape)) if first else (vocab_size, request.shape)
        done = trained_so_far(run) if request.tokens else (0, 0)
        model_config, train_config = from_preset(request.preset, rows, shape, request.training, request.tokens, done)
        with first_goes_first(place):
            stream = open_stream(data, run, train_config.validation_fraction)
            if first:
                first.check(model_config, data, vocab_size, stream.tokenizer_hash)
            if first and tokenizer is None and (first.source / "tokenizer").exists():
                tokenizer = first.source / "tokenizer"
            codec = _codec(tokenizer, stream, data, run, place)
        if codec is None:
            say("no tokenizer given or found next to the data: no samples, no bits a byte (see --tokenizer)")
        settings = Settings(model_config, train_config, options)
        return pretrain(stream, run, settings, say, codec, request.command, place, first)


def _codec(given: Path | None, stream: Stream, data: Path, run: Path, place: Place) -> Tokenizer | None:
    source = find_tokenizer(given, data)
    if source and place.first:
        return adopt_tokenizer(run, source, stream.tokenizer_hash, stream.end_of_text)
    return run_tokenizer(run)


def _silent(line: str) -> None:
    pass
