"""A run directory -> what its training came to: curves as arrays, the figures of a table, samples.

In: `metrics.jsonl`, a JSON object a step, and `config.json`. Out: a History. The file may be of a run in progress,
killed in the middle of a line, or older than some of the fields; what is missing is NaN and nothing else is made up.
A million rows are read in seconds, because they are parsed by the megabyte and kept as columns.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.config import VOCABULARY_TILE
from model.presets import PRESETS

Floats = NDArray[np.float64]
Rows = list[dict[str, Any]]

FIELDS = (
    "loss",  # nats a token, of the step's batch
    "validation_loss",  # nats a token
    "bits_per_byte",  # of the held-out text
    "tokens_per_second",
    "mfu",  # 0 to 1
    "lr",
    "grad_norm",  # before clipping
    "memory_bytes",  # the device's peak
)
_CHUNK = 1 << 20  # bytes of metrics.jsonl parsed at a time
_RECENT = 100  # steps that "lately" is the mean of


class Sample(NamedTuple):
    step: int
    tokens: float  # seen by then; NaN if unknown
    texts: tuple[str, ...]


@dataclass(frozen=True)
class History:
    """One run. The arrays have an entry a step, in order of steps."""

    name: str
    path: Path
    config: Mapping[str, Any]  # config.json: sections model, train, data; empty if there is none
    step_N: Floats
    tokens_N: Floats  # seen after the step; NaN if neither the row nor the configuration tells
    columns: Mapping[str, Floats]  # a (N,) array for each of FIELDS, NaN where a row has no finite value
    skipped: Sequence[tuple[int, str]]  # step and reason of each update that was not made
    samples: Sequence[Sample]
    unreadable: int  # lines that are no row, but for a last one that was cut short


def read_runs(folders: Sequence[Path]) -> list[History]:
    """The history of each folder, one named twice only once. Runs whose folders have the same name are called by
    their paths.

    Raises ValueError naming a folder that is not a run, or a config.json that cannot be read.
    """
    distinct = list({folder.resolve(): folder for folder in folders}.items())
    names = Counter(real.name for real, _ in distinct)
    return [read_run(folder, real.name if names[real.name] == 1 else str(folder)) for real, folder in distinct]


def read_run(folder: Path, name: str = "") -> History:
    """The history of the run in `folder`. Raises ValueError if it is none, or its config.json cannot be read."""
    metrics, settings = folder / "metrics.jsonl", folder / "config.json"
    if not metrics.is_file() and not settings.is_file():
        inside = sorted(child.parent.name for child in folder.glob("*/metrics.jsonl")) if folder.is_dir() else []
        hint = f"the runs in it are {', '.join(inside[:5])}" if inside else "should be what `model pretrain -o` made"
        raise ValueError(f"{folder}: not a run, it holds no metrics.jsonl; {hint}")
    config: Any = {}
    if settings.is_file():
        try:
            config = json.loads(settings.read_bytes())
        except ValueError as error:
            raise ValueError(f"{settings}: not JSON ({error})") from error
    if not isinstance(config, dict):
        raise ValueError(f"{settings}: should be a JSON object")
    reader = _Reader()
    if metrics.is_file():
        for rows in _chunks(metrics, reader):
            reader.add(rows)
    return reader.history(name or folder.resolve().name, folder, config)


def _chunks(path: Path, reader: _Reader) -> Iterator[Rows]:
    with path.open("rb") as file:
        while lines := file.readlines(_CHUNK):
            try:  # all lines as one array: half the time of one by one
                rows = json.loads(b"[" + b",".join(lines) + b"]")
                whole = len(rows) == len(lines)
            except ValueError:
                whole = False
            if not whole:
                rows = [row for line in lines if (row := reader.parse(line)) is not None]
            yield rows


class _Reader:
    """Gathers rows into columns."""

    def __init__(self) -> None:
        self.steps: list[Floats] = []
        self.columns: dict[str, list[Floats]] = {name: [] for name in (*FIELDS, "tokens")}
        self.skipped: dict[int, str] = {}  # by number of the row
        self.samples: dict[int, tuple[str, ...]] = {}
        self.rows = self.unreadable = 0

    def parse(self, line: bytes) -> Any:
        """The line's value, or None where there is none, which is counted unless the line is blank or the file's last
        and without its end."""
        try:
            return json.loads(line) if line.strip() else None
        except ValueError:
            self.unreadable += line.endswith(b"\n")
            return None

    def add(self, rows: Sequence[Any]) -> None:
        good = [row for row in rows if isinstance(row, dict) and _is_step(row.get("step"))]
        self.unreadable += len(rows) - len(good)
        self.steps.append(np.array([row["step"] for row in good], dtype=np.float64))
        for name, parts in self.columns.items():
            parts.append(_numbers([row.get(name) for row in good]))
        for number, row in enumerate(good, self.rows):
            if row.get("skipped"):
                self.skipped[number] = str(row.get("reason") or "no reason given")
            if row.get("samples"):
                texts = row["samples"] if isinstance(row["samples"], list) else [row["samples"]]
                self.samples[number] = tuple(str(text) for text in texts)
        self.rows += len(good)

    def history(self, name: str, path: Path, config: Mapping[str, Any]) -> History:
        step_N = np.concatenate(self.steps or [np.empty(0)])
        columns = {field: np.concatenate(parts or [np.empty(0)]) for field, parts in self.columns.items()}
        tokens_N, batch = columns.pop("tokens"), section(config, "train").get("batch_tokens")
        if isinstance(batch, int):
            tokens_N = np.where(np.isnan(tokens_N), step_N * batch, tokens_N)
        kept_N = _kept(step_N)
        return History(
            name,
            path,
            config,
            step_N[kept_N],
            tokens_N[kept_N],
            {field: values[kept_N] for field, values in columns.items()},
            [(int(step_N[row]), reason) for row, reason in self.skipped.items() if kept_N[row]],
            [
                Sample(int(step_N[row]), float(tokens_N[row]), texts)
                for row, texts in self.samples.items()
                if kept_N[row]
            ],
            self.unreadable,
        )


def _is_step(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53


def _kept(step_N: Floats) -> NDArray[np.bool_]:
    """Which rows count: after a fall back to an earlier step, what was trained again replaces what was there."""
    if not len(step_N):
        return np.zeros(0, dtype=bool)
    lowest_after_N = np.minimum.accumulate(step_N[::-1])[::-1]
    return np.append(step_N[:-1] < lowest_after_N[1:], True)


def _numbers(values: list[Any]) -> Floats:
    """As floats; NaN where there is none or it is not finite."""
    try:
        found = np.array(values, dtype=np.float64)  # None becomes NaN
    except (ValueError, TypeError, OverflowError):
        found = np.array([_number(value) for value in values], dtype=np.float64)
    return np.where(np.isfinite(found), found, math.nan)


def _number(value: Any) -> float:
    try:
        return float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:  # an integer of more than 308 digits
        return math.nan


# --- the table -------------------------------------------------------------------------------------------------


class Figures(NamedTuple):
    """A run in numbers; None where it does not tell. `model plot --json` prints them."""

    name: str
    run: str
    parameters: int | None
    preset: str | None  # whose shape it has
    step: int
    steps: int | None  # asked for
    tokens: int | None
    loss: float | None  # of the last update
    recent_loss: float | None  # mean over the last 100 steps
    validation_loss: float | None  # the newest
    best_validation_loss: float | None
    best_validation_step: int | None
    bits_per_byte: float | None  # the newest
    tokens_per_second: float | None  # median
    mfu: float | None  # median
    memory_bytes: int | None  # highest
    skipped: int
    reasons: dict[str, int]  # for which updates were skipped


def figures(run: History) -> Figures:
    column = {name: values[~np.isnan(values)] for name, values in run.columns.items()}
    tokens = run.tokens_N[-1] if len(run.tokens_N) else math.nan
    best = int(np.nanargmin(run.columns["validation_loss"])) if len(column["validation_loss"]) else None
    steps = section(run.config, "train").get("steps")
    recent = run.columns["loss"][-_RECENT:]
    recent = recent[~np.isnan(recent)]
    return Figures(
        name=run.name,
        run=str(run.path),
        parameters=parameters(section(run.config, "model")),
        preset=preset(section(run.config, "model")),
        step=int(run.step_N[-1]) if len(run.step_N) else 0,
        steps=steps if isinstance(steps, int) else None,
        tokens=None if math.isnan(tokens) else int(tokens),
        loss=_last(column["loss"]),
        recent_loss=float(recent.mean()) if len(recent) else None,
        validation_loss=_last(column["validation_loss"]),
        best_validation_loss=float(column["validation_loss"].min()) if best is not None else None,
        best_validation_step=int(run.step_N[best]) if best is not None else None,
        bits_per_byte=_last(column["bits_per_byte"]),
        tokens_per_second=_median(column["tokens_per_second"]),
        mfu=_median(column["mfu"]),
        memory_bytes=int(column["memory_bytes"].max()) if len(column["memory_bytes"]) else None,
        skipped=len(run.skipped),
        reasons=dict(Counter(reason for _, reason in run.skipped)),
    )


def _last(values: Floats) -> float | None:
    return float(values[-1]) if len(values) else None


def _median(values: Floats) -> float | None:
    return float(np.median(values)) if len(values) else None


# --- the configuration -----------------------------------------------------------------------------------------


SECTIONS = ("model", "train", "data")  # of config.json; what else there is says how the run was asked for


def section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = config.get(name)
    return found if isinstance(found, Mapping) else {}


def parameters(model: Mapping[str, Any]) -> int | None:
    """Trained numbers of a model of this shape (config.json's section `model`), a tied embedding once; None if the
    shape is not told. Counted here because a page about training should not have to load PyTorch.
    """
    try:
        vocab, width, layers, head_dim = (int(model[k]) for k in ("vocab_size", "width", "layers", "head_dim"))
        heads, kv_heads, mlp, context = (int(model[k]) for k in ("heads", "kv_heads", "mlp_width", "context"))
    except (KeyError, TypeError, ValueError):
        return None
    bias = bool(model.get("bias", False))
    gated = model.get("activation", "swiglu") == "swiglu"
    norm = width * (2 if bias and model.get("norm") == "layer" else 1)
    embedding = -(-vocab // VOCABULARY_TILE) * VOCABULARY_TILE * width
    total = embedding * (1 if model.get("tied", True) else 2) + norm
    total += context * width if model.get("positions") == "learned" else 0
    qkv, up = (heads + 2 * kv_heads) * head_dim, mlp * (2 if gated else 1)
    layer = width * (qkv + heads * head_dim + up + mlp) + 2 * norm
    layer += qkv + width + up + width if bias else 0
    layer += 2 * head_dim if model.get("qk_norm", True) else 0
    return total + layers * layer


def preset(model: Mapping[str, Any]) -> str | None:
    """Name of the preset that has this shape, whatever its context and vocabulary."""
    for name, known in PRESETS.items():
        if all(model.get(field) == value for field, value in known.shape.items() if field != "context"):
            return name
    return None


def settings(runs: Sequence[History]) -> dict[str, list[Any]]:
    """`section.setting` -> its value in each run, None where a run does not have it; in the order of the files."""
    flat = [dict(_flat({part: section(run.config, part) for part in SECTIONS})) for run in runs]
    names = dict.fromkeys(name for settings in flat for name in settings)
    return {name: [settings.get(name) for settings in flat] for name in names}


def differing(runs: Sequence[History]) -> dict[str, list[Any]]:
    """Those of `settings` that are not the same in all runs."""
    return {name: values for name, values in settings(runs).items() if any(value != values[0] for value in values)}


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
