"""The checkpoint files of a run: written atomically, and verified before they are read.

`checkpoint-000100.pt` is the state after 100 updates in PyTorch's own format, a zip archive. The archive's comment is
the sha256 of all bytes before it, so that damage at any byte is noticed; the archive's own checksums do not cover its
directory. A checkpoint is read with `weights_only=True`, so that it cannot run code.
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
    """Write the checkpoint after `step` updates, then delete all checkpoints but the newest `keep`. Returns its path.

    `state` holds tensors and plain values, which `torch.load` reads with `weights_only=True`.
    """
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
    """The path and the state of the newest whole checkpoint, with tensors on the CPU; None if the run has none yet.

    A damaged checkpoint is reported to `log` and passed over. Raises ValueError if every checkpoint is damaged.
    """
    paths = checkpoints(run)
    for path in paths:
        if is_whole(path):
            return path, torch.load(path, map_location="cpu", weights_only=True)
        log(f"{path}: damaged, falling back to the checkpoint before it")
    if paths:
        raise ValueError(f"{run}: none of its {len(paths)} checkpoints is whole; delete them to start again")
    return None


def load_model(run: Path, device: torch.device, log: Callable[[str], None]) -> tuple[GPT, dict[str, Any]]:
    """The model of the run's newest whole checkpoint, on `device`, and the checkpoint's state without the weights.

    Raises FileNotFoundError if the run has no checkpoint, ValueError if every checkpoint is damaged.
    """
    checkpoint = newest(run, log)
    if checkpoint is None:
        raise FileNotFoundError(f"{run}: holds no checkpoint; train one with `model pretrain -o {run}`")
    _, state = checkpoint
    model = GPT(ModelConfig(**state["model"]))
    model.load_state_dict(state.pop("weights"))
    return model.to(device), state


def seal(path: Path) -> None:
    """Write the sha256 of the archive at `path` into its comment.

    The comment is the last field of a zip file and stands after its 16-bit length, which the sha256 covers.
    """
    with path.open("r+b") as file:
        file.seek(-2, os.SEEK_END)  # torch.save writes no comment, so the length is the last field
        file.write(DIGEST_BYTES.to_bytes(2, "little"))
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0, os.SEEK_END)
        file.write(digest.encode())


def is_whole(path: Path) -> bool:
    """Whether the file's bytes have the sha256 that `seal` wrote."""
    hasher, remaining = hashlib.sha256(), path.stat().st_size - DIGEST_BYTES
    with path.open("rb") as file:
        while remaining > 0 and (chunk := file.read(min(remaining, 1 << 20))):
            hasher.update(chunk)
            remaining -= len(chunk)
        return file.read() == hasher.hexdigest().encode()


def sweep(run: Path) -> None:
    """Remove the temporary files of processes that were killed while they wrote."""
    for partial in run.glob(".*.partial"):
        partial.unlink()


def truncate_metrics(path: Path, step: int) -> None:
    """Drop the rows of steps after `step`, which will be trained again, and a last line that was cut short."""
    if not path.exists():
        return
    lines = path.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if line.endswith(b"\n") and json.loads(line)["step"] <= step]
    write_whole(path, b"".join(kept))
