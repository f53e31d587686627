"""Trackers: TensorBoard and Weights & Biases. In: the rows of metrics.jsonl. Out: curves in those programs.

metrics.jsonl is always written; a tracker is used if the user asks for it. Training does not depend on a tracker. If a
tracker's package is missing, that is an error before training starts. If a tracker fails later (the network, a full
disk), it is reported once and left out, and training continues. When a run is resumed, its curves continue: TensorBoard
drops the events of steps that are trained again, and Weights & Biases gets the run's id, which is kept in the run
directory.
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
    """Something that receives the rows of a run. Its methods raise what goes wrong."""

    def log(self, step: int, numbers: Mapping[str, float], samples: Sequence[str]) -> None:
        """Take the finite numbers and the samples of a step."""
        ...

    def close(self, failed: bool) -> None:
        """Training has ended, by an error if `failed`."""
        ...


class TensorBoard:
    """Events in `<run>/tensorboard`."""

    def __init__(self, run: Path, config: Mapping[str, Any], start: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # purge_step drops the events of later steps, which an earlier attempt trained after its last checkpoint.
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
    """A run in the project that WANDB_PROJECT names, or "pretrain". Its id is kept in `<run>/wandb-id`."""

    def __init__(self, run: Path, config: Mapping[str, Any], start: int) -> None:
        wandb: Any = importlib.import_module("wandb")
        self.html: Any = wandb.Html
        id_file = run / "wandb-id"
        if not id_file.is_file():
            write_whole(id_file, f"{uuid.uuid4().hex[:16]}\n".encode())
        self.run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or "pretrain",
            name=run.resolve().name,
            id=id_file.read_text(encoding="utf-8").strip(),
            resume="allow",
            dir=str(run),
            config=dict(config),
            allow_val_change=True,  # a run may be continued with more steps
        )

    def log(self, step: int, numbers: Mapping[str, float], samples: Sequence[str]) -> None:
        # W&B has the steps below from an earlier attempt, which got further than its last checkpoint.
        if step < self.run.starting_step:
            return
        row: dict[str, Any] = dict(numbers)
        for place, text in enumerate(samples):
            row[f"samples/{place}"] = self.html(
                f'<pre style="white-space: pre-wrap">{html.escape(text)}</pre>', data_is_not_path=True
            )
        self.run.log(row, step=step)

    def close(self, failed: bool) -> None:
        self.run.finish(exit_code=int(failed))


# The table of trackers: a name, and what makes the tracker of a run directory, config.json's content and a start step.
TRACKERS: Mapping[str, Callable[[Path, Mapping[str, Any], int], Tracker]] = {
    "tensorboard": TensorBoard,
    "wandb": WandB,
}


class Trackers:
    """The trackers of a run. A context manager that closes them."""

    def __init__(
        self,
        names: Sequence[str],
        run: Path,
        config: Mapping[str, Any],
        log: Callable[[str], None],
        start: int = 0,
    ) -> None:
        """`names` are in TRACKERS, `config` is config.json's content, `start` the step that the run continues from.

        `log` gets a line for a tracker that fails. Raises ValueError if a name is unknown or its package not installed.
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
            except Exception as error:  # noqa: BLE001 - training must not depend on a tracker
                self._give_up(name, error)

    def log(self, row: Mapping[str, Any]) -> None:
        """Send a row of metrics.jsonl to all trackers: its finite numbers and its samples, at its `step`."""
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
        """Close all trackers. `failed`: training ended by an error."""
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
    """The text as an indented block of Markdown, which shows every character unchanged."""
    return "".join(f"    {line}\n" for line in text.splitlines())
