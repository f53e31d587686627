"""A run's state on disk: written whole or not at all, checked before it is trusted.

`checkpoint-000100.pt` is the state after 100 updates, in PyTorch's own format: a zip archive. Its archive comment is
the sha256 of all before it, which tells a truncated or damaged file from a whole one at any byte; the archive's
own checksums do not cover its directory. It is read with `weights_only=True`, so that loading one runs no code.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from bpe.whole import whole, write_whole
from model.config import ModelConfig
from model.gpt import GPT

NAME = re.compile(r"checkpoint-(\d+)\.pt")
DIGEST_BYTES = 64  # sha256 in hex


def save(run: Path, step: int, state: dict[str, Any], keep: int) -> Path:
    """Write the checkpoint of `step`, then delete all but the newest `keep`."""
    path = run / f"checkpoint-{step:06d}.pt"
    with whole(path) as partial:
        torch.save({"step": step, **state}, partial)
        seal(partial)
    for old in checkpoints(run)[keep:]:
        old.unlink()
    return path


def checkpoints(run: Path) -> list[Path]:
    """The run's checkpoint files, newest first."""
    numbered = [(int(match[1]), path) for path in run.glob("*.pt") if (match := NAME.fullmatch(path.name))]
    return [path for _, path in sorted(numbered, reverse=True)]


def newest(run: Path, log: Callable[[str], None]) -> tuple[Path, dict[str, Any]] | None:
    """The newest whole checkpoint, on the CPU; None if the run has none yet.

    A damaged one is reported to `log` and passed over. Raises ValueError if there are some and none is whole.
    """
    found = checkpoints(run)
    for path in found:
        if is_whole(path):
            return path, torch.load(path, map_location="cpu", weights_only=True)
        log(f"{path}: damaged, falling back to the checkpoint before it")
    if found:
        raise ValueError(f"{run}: none of its {len(found)} checkpoints is whole; delete them to start again")
    return None


def load_model(run: Path, device: torch.device, log: Callable[[str], None]) -> tuple[GPT, dict[str, Any]]:
    """The model of the run's newest whole checkpoint, and the rest of that checkpoint.

    Raises OSError if there is none.
    """
    found = newest(run, log)
    if found is None:
        raise FileNotFoundError(f"{run}: holds no checkpoint; train one with `model pretrain -o {run}`")
    _, state = found
    model = GPT(ModelConfig(**state["model"]))
    model.load_state_dict(state.pop("weights"))
    return model.to(device), state


def seal(path: Path) -> None:
    """Give the archive at `path` its digest as comment: the last field of a zip file, after its 16-bit length."""
    with path.open("r+b") as file:
        file.seek(-2, os.SEEK_END)  # torch.save leaves an empty comment
        file.write(DIGEST_BYTES.to_bytes(2, "little"))
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0, os.SEEK_END)
        file.write(digest.encode())


def is_whole(path: Path) -> bool:
    """Does the file still have the digest that `seal` gave it?"""
    hasher, remaining = hashlib.sha256(), path.stat().st_size - DIGEST_BYTES
    with path.open("rb") as file:
        while remaining > 0 and (chunk := file.read(min(remaining, 1 << 20))):
            hasher.update(chunk)
            remaining -= len(chunk)
        return file.read() == hasher.hexdigest().encode()


def sweep(run: Path) -> None:
    """Remove what an attempt that was killed while writing left behind."""
    for partial in run.glob(".*.partial"):
        partial.unlink()


def truncate_metrics(path: Path, step: int) -> None:
    """Drop rows after `step` (and a last line that was cut short): those steps will be trained again."""
    if not path.exists():
        return
    lines = path.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if line.endswith(b"\n") and json.loads(line)["step"] <= step]
    write_whole(path, b"".join(kept))
