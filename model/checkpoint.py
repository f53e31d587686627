"""The checkpoint files of a run: written atomically, and verified before they are read.

`checkpoint-000100.pt` is the state after 100 updates in PyTorch's own format, a zip archive. The archive's comment is
the sha256 of all bytes before it, so that damage at any byte is noticed; the archive's own checksums do not cover its
directory. A checkpoint is read with `weights_only=True`, so that it cannot run code. Equal states are equal bytes.

PyTorch is imported by the functions that need it: commands look for checkpoints before they wait seconds for it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bpe.parse import brief, parse_json
from bpe.whole import whole, write_whole
from model.config import ModelConfig, TrainConfig

if TYPE_CHECKING:
    import torch

    from model.gpt import GPT

NAME = re.compile(r"checkpoint-(\d+)\.pt")
DIGEST_BYTES = 64  # sha256 in hex
# What a state of another shape raises where it is used.
MISFITS = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
# The section `data` of a state; an imported model may lack all three.
_DATA: Mapping[str, type] = {"fingerprint": str, "tokenizer_hash": str, "end_of_text": int}
_MOST = 1 << 53  # of a count of steps or windows
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def save(run: Path, step: int, state: dict[str, Any], keep: int) -> Path:
    """Write the checkpoint after `step` updates, then delete all checkpoints but the newest `keep`. Returns its path.

    `state` holds tensors and plain values, which `torch.load` reads with `weights_only=True`.
    """
    import torch

    path = run / f"checkpoint-{step:06d}.pt"
    with whole(path) as partial:
        with partial.open("wb") as file:  # `torch.save` writes the name of a file into it, but not that of an open one
            try:
                torch.save(_canonical({"step": step, **state}), file)
            except RuntimeError as error:  # PyTorch's error for an archive without end hides the one of the disk
                raise error.__context__ if isinstance(error.__context__, OSError) else error from None
        seal(partial)
    for old in checkpoints(run)[keep:]:
        old.unlink()
    return path


def _canonical(state: Any) -> Any:
    """A copy of a nested state whose pickle depends on its values alone.

    Pickle writes an object once and then refers to it. So the bytes depend on which equal strings are one object, and
    on which places share a list.
    """
    if isinstance(state, dict):
        return {_canonical(name): _canonical(value) for name, value in state.items()}
    if isinstance(state, list):
        return [_canonical(value) for value in state]
    if isinstance(state, tuple):
        return tuple(_canonical(value) for value in state)
    return sys.intern(state) if type(state) is str else state


def checkpoints(run: Path) -> list[Path]:
    """The run's checkpoint files, newest first."""
    numbered = [(int(match[1]), path) for path in run.glob("*.pt") if (match := NAME.fullmatch(path.name))]
    return [path for _, path in sorted(numbered, reverse=True)]


def newest(run: Path, log: Callable[[str], None]) -> tuple[Path, dict[str, Any]] | None:
    """The path and the state of the newest whole checkpoint, with tensors on the CPU; None if the run has none yet.

    A damaged checkpoint is reported to `log` and passed over. Raises ValueError if every checkpoint is damaged, and
    for a file that is whole and no checkpoint of ours.
    """
    paths = checkpoints(run)
    for path in paths:
        if is_whole(path):
            return path, _read(path)
        log(f"{path}: damaged, falling back to the checkpoint before it")
    if paths:
        raise ValueError(f"{run}: none of its {len(paths)} checkpoints is whole; delete them to start again")
    return None


def _read(path: Path) -> dict[str, Any]:
    """The state in a whole checkpoint. Raises ValueError if it is none of ours."""
    import torch

    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # PyTorch raises many kinds, of the archive and of the pickle in it
        raise no_checkpoint(path, error) from error
    try:
        _check_values(state)
    except MISFITS as error:
        raise no_checkpoint(path, error) from error
    return {**state, "data": dict.fromkeys(_DATA) | state["data"]}


def _check_values(state: Any) -> None:
    """Raises ValueError or TypeError for plain values in a state that no run can have. An imported model has no train.

    The tensors are checked by what loads them, and what only a resumed run needs is checked in `model.resume`.
    """
    require(state, {"step": int, "model": dict, "data": dict, "weights": dict})
    model = ModelConfig(**state["model"])
    if state.get("train") is not None:
        require(state, {"train": dict})
        TrainConfig(**state["train"])
    require(state["data"], {name: kind for name, kind in _DATA.items() if state["data"].get(name) is not None})
    if (state["data"].get("end_of_text") or 0) >= model.vocab_size:
        raise ValueError(f"its end_of_text is no id of a vocabulary of {model.vocab_size}")


def require(values: Any, kinds: Mapping[str, type]) -> None:
    """Raises ValueError unless the dict `values` has a value of its kind for each name in `kinds`; a number from 0."""
    for name, kind in kinds.items():
        value: Any = values.get(name) if isinstance(values, dict) else None
        is_right = isinstance(value, kind) and not isinstance(value, bool)
        if not is_right or (isinstance(value, int) and not 0 <= value < _MOST):
            raise ValueError(f"it has no {name}")


def no_checkpoint(path: Path, reason: object) -> ValueError:
    """The error to raise for a file whose bytes are whole, but whose content is no state of a run."""
    line = brief((str(reason).strip().splitlines() or [type(reason).__name__])[0])
    return ValueError(
        f"{path}: whole, but no checkpoint of this program ({line}); remove it to use the checkpoint before it"
    )


def require_checkpoint(run: Path) -> None:
    """Raises FileNotFoundError if the run has no checkpoint. This takes no time, while to import PyTorch takes long."""
    if not checkpoints(run):
        raise FileNotFoundError(f"{run}: holds no checkpoint; train one with `model pretrain -o {run}`")


def load_model(run: Path, device: torch.device, log: Callable[[str], None]) -> tuple[GPT, dict[str, Any]]:
    """The model of the run's newest whole checkpoint, on `device`, and the checkpoint's state without the weights.

    Raises FileNotFoundError if the run has no checkpoint, ValueError if every checkpoint is damaged.
    """
    require_checkpoint(run)
    checkpoint = newest(run, log)
    assert checkpoint is not None
    path, state = checkpoint
    weights = state.pop("weights")
    try:
        model = _empty_model(state["model"], weights)
        model.load_state_dict(weights)
    except MISFITS as error:
        raise no_checkpoint(path, error) from error
    return model.to(device), state


def _empty_model(fields: dict[str, Any], weights: dict[str, torch.Tensor]) -> GPT:
    """A model of the shape `fields`. Raises ValueError, before memory is asked for, if `weights` are of another."""
    import torch

    from model.device import check_memory
    from model.gpt import GPT

    config = ModelConfig(**fields)
    check_memory(config)
    if config.layers > len(weights):
        raise ValueError(f"layers = {config.layers}, but it has {len(weights)} weights")
    with torch.device("meta"):  # shapes without memory
        shapes = {name: weight.shape for name, weight in GPT(config).state_dict().items()}
    for name, shape in shapes.items():
        if getattr(weights.get(name), "shape", None) != shape:
            raise ValueError(f"its weights have no {name} of the shape {list(shape)}")
    return GPT(config)


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


def truncate_metrics(path: Path, step: int, log: Callable[[str], None]) -> None:
    """Drop the rows of steps after `step`, which will be trained again, and a last line that was cut short.

    Lines that are no row, which a power cut can leave behind, are dropped too; their number is reported to `log`.
    """
    if not path.exists():
        return
    lines = [line for line in path.read_bytes().split(b"\n")[:-1] if line.strip()]
    rows = [(line, row) for line in lines if (row := row_of(line))]
    if len(rows) < len(lines):
        log(f"{path}: {len(lines) - len(rows)} of {len(lines)} lines are no row of a step and are left out")
    write_whole(path, b"".join(line + b"\n" for line, row in rows if row["step"] <= step))


def row_of(line: bytes) -> dict[str, Any] | None:
    """The row on a line of metrics.jsonl; None if it is no object with a step."""
    try:
        row = parse_json(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and type(row.get("step")) is int else None


@contextlib.contextmanager
def disk_space(run: Path) -> Iterator[None]:
    """Names the run and the fix where the body raises OSError because the disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        fix = "free some space; the same command continues from the newest checkpoint"
        raise OSError(f"{run}: cannot be written ({error.strerror}); {fix}") from error
