"""The weights that a new run begins with, if it begins with those of another run instead of random ones.

The other run may have been trained or imported. The new run has its shape, but the context may change if positions are
not learned. The training settings are the preset's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from model.checkpoint import checkpoints, load_model
from model.config import ModelConfig, as_dict, differences


class InitialModel(NamedTuple):
    """A model that a new run begins with."""

    source: Path  # the run that the weights come from
    config: ModelConfig
    weights: dict[str, Tensor]
    tokenizer_hash: str | None  # None if a model was imported without its tokenizer

    def shape(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of ModelConfig except `vocab_size`, with the `changes` that are not None."""
        fields = {**as_dict(self.config), **{name: value for name, value in changes.items() if value is not None}}
        del fields["vocab_size"]
        return fields

    def check(self, config: ModelConfig, data: Path, vocab_size: int, tokenizer_hash: str) -> None:
        """Raises ValueError if the weights do not fit the new run's shape `config`, or the shards in `data`.

        `vocab_size` and `tokenizer_hash` are the shards'.
        """
        free = ("window: ",) if self.config.positions == "learned" else ("window: ", "context: ")
        lines = [line for line in differences(as_dict(self.config), as_dict(config)) if not line.startswith(free)]
        if lines:
            raise ValueError(f"{self.source}: its weights are of another shape ({'; '.join(lines)})")
        known = self.tokenizer_hash or tokenizer_hash
        if tokenizer_hash != known or vocab_size > self.config.vocab_size:
            raise ValueError(
                f"{data}: made by tokenizer {tokenizer_hash[:12]} with {vocab_size} ids, {self.source} knows "
                f"{known[:12]} with {self.config.vocab_size}; tokenize it with {self.source / 'tokenizer'}"
            )


def load_initial_model(start: Path, run: Path, log: Callable[[str], None]) -> InitialModel:
    """The model of the newest checkpoint of the run `start`.

    If `run`, the new run, already has a checkpoint, its model is taken: `start` need not exist any more.
    """
    source = run if checkpoints(run) else start
    model, state = load_model(source, torch.device("cpu"), log)
    return InitialModel(source, model.config, model.state_dict(), state["data"]["tokenizer_hash"])
