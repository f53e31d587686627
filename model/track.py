"""Rows of metrics -> TensorBoard, Weights & Biases, if asked for, beside metrics.jsonl, which is always written.

A tracker is an onlooker. One whose package is missing says so before training starts; one that fails later (the
network, a full disk) is reported once and left out, and training goes on. Both continue the curves of a run that is
resumed: TensorBoard is told which of its events are trained again, Weights & Biases gets the run's id, kept in the run.
"""

from __future__ import annotations

import html
import importlib
import json
import math
import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from bpe.whole import write_whole


class Tracker(Protocol):
    """One place where rows go. Whatever goes wrong raises."""

    def log(self, step: int, numbers: Mapping[str, float], samples: Sequence[str]) -> None: ...

    def close(self, failed: bool) -> None: ...


class TensorBoard:
    """Events in `<run>/tensorboard`."""

    def __init__(self, run: Path, config: Mapping[str, Any], start: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # Events of later steps, left by an attempt that got further than its newest checkpoint, are dropped.
        make: Any = SummaryWriter
        self.writer: Any = make(str(run / "tensorboard"), purge_step=start + 1)
        if start == 0:
            self.writer.add_text("config", _verbatim(json.dumps(config, indent=2)), 0)

    def log(self, step: int, numbers: Mapping[str, float], samples: Sequence[str]) -> None:
        for name, number in numbers.items():
            self.writer.add_scalar(name, number, step)
        for place, text in enumerate(samples):
            self.writer.add_text(f"samples/{place}", _verbatim(text), step)

    def close(self, failed: bool) -> None:
        self.writer.close()


class WandB:
    """A run of the project named in WANDB_PROJECT, or "pretrain"; its id is kept in `<run>/wandb-id`."""

    def __init__(self, run: Path, config: Mapping[str, Any], start: int) -> None:
        wandb: Any = importlib.import_module("wandb")
        self.html: Any = wandb.Html
        kept = run / "wandb-id"
        if not kept.is_file():
            write_whole(kept, f"{uuid.uuid4().hex[:16]}\n".encode())
        self.run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or "pretrain",
            name=run.resolve().name,
            id=kept.read_text(encoding="utf-8").strip(),
            resume="allow",
            dir=str(run),
            config=dict(config),
            allow_val_change=True,  # a run may be continued with more steps
        )

    def log(self, step: int, numbers: Mapping[str, float], samples: Sequence[str]) -> None:
        if step < self.run.starting_step:  # it has this step of an attempt that got further than its checkpoint
            return
        row: dict[str, Any] = dict(numbers)
        for place, text in enumerate(samples):
            row[f"samples/{place}"] = self.html(
                f'<pre style="white-space: pre-wrap">{html.escape(text)}</pre>', data_is_not_path=True
            )
        self.run.log(row, step=step)

    def close(self, failed: bool) -> None:
        self.run.finish(exit_code=int(failed))


TRACKERS: Mapping[str, Callable[[Path, Mapping[str, Any], int], Tracker]] = {
    "tensorboard": TensorBoard,
    "wandb": WandB,
}


class Trackers:
    """All the trackers named. A context manager that closes them."""

    def __init__(
        self,
        names: Sequence[str],
        run: Path,
        config: Mapping[str, Any],
        log: Callable[[str], None],
        start: int = 0,
    ) -> None:
        """`config`: what config.json holds. `start`: the step that the run continues from.

        Raises ValueError if a name is not known or its package is not installed.
        """
        for name in names:
            if name not in TRACKERS:
                raise ValueError(f"tracker {name!r}: should be {' or '.join(TRACKERS)}")
        self._report = log
        self._active: dict[str, Tracker] = {}
        for name in dict.fromkeys(names):
            try:
                self._active[name] = TRACKERS[name](run, config, start)
            except ImportError as error:
                self.close(failed=True)
                raise ValueError(
                    f"tracker {name}: its package cannot be imported ({error}); pip install {name}"
                ) from error
            except Exception as error:  # noqa: BLE001 - training must not depend on an onlooker
                self._give_up(name, error)

    def log(self, row: Mapping[str, Any]) -> None:
        """A row of metrics.jsonl: its finite numbers, and its samples as text, at its `step`."""
        numbers = {
            name: float(value)
            for name, value in row.items()
            if name != "step" and isinstance(value, int | float) and math.isfinite(value)
        }
        for name, tracker in list(self._active.items()):
            try:
                tracker.log(row["step"], numbers, row.get("samples") or ())
            except Exception as error:  # noqa: BLE001 - as above
                self._give_up(name, error)

    def close(self, failed: bool = False) -> None:
        """Write what is not yet written. `failed`: training ended by an error."""
        for name, tracker in list(self._active.items()):
            try:
                tracker.close(failed)
            except Exception as error:  # noqa: BLE001 - as above
                self._give_up(name, error)
        self._active = {}

    def _give_up(self, name: str, error: Exception) -> None:
        self._active.pop(name, None)
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        self._report(f"tracker {name}: {reason}; training goes on without it, metrics.jsonl has everything")

    def __enter__(self) -> Trackers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(failed=kind is not None)


def _verbatim(text: str) -> str:
    """As Markdown that shows every character as it is: an indented block."""
    return "".join(f"    {line}\n" for line in text.splitlines())
