"""A run that begins with the weights of another one, an imported model's say, instead of random ones.

Its shape is that model's, but for the context where positions are not learned; the training is as the preset has it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from model.checkpoint import checkpoints, load_model
from model.config import ModelConfig, as_dict, differences


class Initial(NamedTuple):
    source: Path
    model: ModelConfig
    weights: dict[str, Tensor]
    tokenizer_hash: str | None  # None: of an import without a tokenizer

    def shape(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Its fields of ModelConfig, all but the vocabulary's size, under those that are given."""
        fields = {**as_dict(self.model), **{name: value for name, value in given.items() if value is not None}}
        del fields["vocab_size"]
        return fields

    def check(self, model: ModelConfig, data: Path, vocab_size: int, tokenizer_hash: str) -> None:
        """Raises ValueError naming what of `model` or of the shards in `data` the weights do not fit."""
        free = ("window: ",) if self.model.positions == "learned" else ("window: ", "context: ")
        lines = [line for line in differences(as_dict(self.model), as_dict(model)) if not line.startswith(free)]
        if lines:
            raise ValueError(f"{self.source}: its weights are of another shape ({'; '.join(lines)})")
        known = self.tokenizer_hash or tokenizer_hash
        if tokenizer_hash != known or vocab_size > self.model.vocab_size:
            raise ValueError(
                f"{data}: made by tokenizer {tokenizer_hash[:12]} with {vocab_size} ids, {self.source} knows "
                f"{known[:12]} with {self.model.vocab_size}; tokenize it with {self.source / 'tokenizer'}"
            )


def initial(start: Path, run: Path, log: Callable[[str], None]) -> Initial:
    """Of the newest checkpoint of `start`; of `run` itself if that has been begun, so that `start` may be gone then."""
    source = run if checkpoints(run) else start
    model, state = load_model(source, torch.device("cpu"), log)
    return Initial(source, model.config, model.state_dict(), state["data"]["tokenizer_hash"])
