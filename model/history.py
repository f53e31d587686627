"""The history of a run. In: a run directory's `metrics.jsonl` and `config.json`. Out: curves, figures and samples.

`metrics.jsonl` has a JSON object for each step. The run may still be in progress, may have been killed in the middle of
a line, and may be older than some fields. A value that is missing is NaN. A million rows are read in seconds, because
they are parsed a megabyte at a time and kept as columns.

Array names: N rows, one for each step.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bpe.parse import parse_json
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
_RECENT = 100  # steps over which the recent loss is a mean


class RecordedSamples(NamedTuple):
    """The samples of one step."""

    step: int
    tokens: float  # trained on up to this step; NaN if not known
    texts: tuple[str, ...]


@dataclass(frozen=True)
class History:
    """The history of one run. Arrays are float64 and in order of steps."""

    name: str
    path: Path  # the run directory
    config: Mapping[str, Any]  # config.json, with the sections model, train and data; empty without a config.json
    step_N: Floats
    tokens_N: Floats  # trained on up to the step; NaN if neither the row nor config.json says it
    columns: Mapping[str, Floats]  # an array (N,) for each of FIELDS, NaN where a row has no finite value
    skipped: Sequence[tuple[int, str]]  # step and reason of each update that was skipped
    samples: Sequence[RecordedSamples]
    unreadable: int  # lines that are no row, not counting a last line that was cut short


def read_runs(folders: Sequence[Path]) -> list[History]:
    """The history of each run directory; a directory that is named twice is read once.

    A run has the name of its directory, or its path if several directories have that name. Raises ValueError naming a
    folder that is no run directory, or a config.json that cannot be read.
    """
    distinct = list({folder.resolve(): folder for folder in folders}.items())
    names = Counter(real.name for real, _ in distinct)
    return [read_run(folder, real.name if names[real.name] == 1 else str(folder)) for real, folder in distinct]


def newest_figures(run: Path) -> dict[str, float | None]:
    """The last known value of each of FIELDS in the metrics of `run`, None where there is none."""
    finite = {name: column_N[np.isfinite(column_N)] for name, column_N in read_run(run).columns.items()}
    return {name: float(column_M[-1]) if len(column_M) else None for name, column_M in finite.items()}


def read_run(folder: Path, name: str = "") -> History:
    """The history of the run in `folder`, called `name` or else by the folder's name.

    Raises ValueError if the folder is no run directory or its config.json cannot be read.
    """
    metrics, settings = folder / "metrics.jsonl", folder / "config.json"
    if not metrics.is_file() and not settings.is_file():
        inside = sorted(child.parent.name for child in folder.glob("*/metrics.jsonl")) if folder.is_dir() else []
        hint = f"the runs in it are {', '.join(inside[:5])}" if inside else "should be what `model pretrain -o` made"
        raise ValueError(f"{folder}: not a run, it holds no metrics.jsonl; {hint}")
    config: Any = {}
    if settings.is_file():
        try:
            config = parse_json(settings.read_bytes())
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
    """The rows of a file, about _CHUNK bytes at a time."""
    with path.open("rb") as file:
        while lines := file.readlines(_CHUNK):
            try:  # as one JSON array the lines are parsed in half the time
                rows = parse_json(b"[" + b",".join(lines) + b"]")
                good = len(rows) == len(lines)
            except ValueError:
                good = False
            if not good:
                rows = [row for line in lines if (row := reader.parse(line)) is not None]
            yield rows


class _Reader:
    """Collects rows as columns."""

    def __init__(self) -> None:
        self.steps: list[Floats] = []
        self.columns: dict[str, list[Floats]] = {name: [] for name in (*FIELDS, "tokens")}
        self.skipped: dict[int, str] = {}  # reasons, by number of the row
        self.samples: dict[int, tuple[str, ...]] = {}  # texts, by number of the row
        self.rows = self.unreadable = 0

    def parse(self, line: bytes) -> Any:
        """The JSON value of a line, or None if it has none.

        Such a line counts as unreadable unless it is blank, or has no end because it is the file's last line.
        """
        try:
            return parse_json(line) if line.strip() else None
        except ValueError:
            self.unreadable += line.endswith(b"\n")
            return None

    def add(self, rows: Sequence[Any]) -> None:
        """Take the next rows; a value that is no object with a step counts as unreadable."""
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
        """The history of all rows taken."""
        step_N = np.concatenate(self.steps or [np.empty(0)])
        columns = {field: np.concatenate(parts or [np.empty(0)]) for field, parts in self.columns.items()}
        tokens_N, batch = columns.pop("tokens"), section(config, "train").get("batch_tokens")
        if isinstance(batch, int):
            with np.errstate(over="ignore"):
                tokens_N = np.where(np.isnan(tokens_N), _finite(step_N * _number(batch)), tokens_N)
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
                RecordedSamples(int(step_N[row]), float(tokens_N[row]), texts)
                for row, texts in self.samples.items()
                if kept_N[row]
            ],
            self.unreadable,
        )


def _is_step(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53


def _kept(step_N: Floats) -> NDArray[np.bool_]:
    """Whether each row counts, (N,). A row does not count if a later row has its step or an earlier step.

    That happens when a run falls back to an earlier checkpoint: steps that are trained again replace those before.
    """
    if not len(step_N):
        return np.zeros(0, dtype=bool)
    lowest_after_N = np.minimum.accumulate(step_N[::-1])[::-1]
    return np.append(step_N[:-1] < lowest_after_N[1:], True)


def _numbers(values: list[Any]) -> Floats:
    """The values as float64; NaN for a value that is no finite number."""
    try:
        numbers_N = np.array(values, dtype=np.float64)  # None becomes NaN
    except (ValueError, TypeError, OverflowError):
        numbers_N = np.array([_number(value) for value in values], dtype=np.float64)
    return _finite(numbers_N)


def _finite(values_N: Floats) -> Floats:
    return np.where(np.isfinite(values_N), values_N, math.nan)


def _number(value: Any) -> float:
    try:
        return float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:  # an integer of more than 308 digits
        return math.nan


# --- the table -------------------------------------------------------------------------------------------------


class Figures(NamedTuple):
    """A run in numbers; None where a number is not known. `model plot --json` prints them."""

    name: str
    run: str  # path of the run directory
    parameters: int | None
    preset: str | None  # the preset that has the run's shape
    step: int  # updates made
    steps: int | None  # updates asked for
    tokens: int | None  # trained on
    loss: float | None  # of the last update
    recent_loss: float | None  # mean over the last 100 steps
    validation_loss: float | None  # the newest
    best_validation_loss: float | None
    best_validation_step: int | None
    bits_per_byte: float | None  # the newest
    tokens_per_second: float | None  # median
    mfu: float | None  # median
    memory_bytes: int | None  # highest
    skipped: int  # updates
    reasons: dict[str, int]  # skipped updates for each reason


def figures(run: History) -> Figures:
    """The figures of a run."""
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


SECTIONS = ("model", "train", "data")  # of config.json; its section `command` is how the run was started


def section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A section of config.json; empty if it is missing or no object."""
    content = config.get(name)
    return content if isinstance(content, Mapping) else {}


def parameters(model: Mapping[str, Any]) -> int | None:
    """The number of parameters of a shape, config.json's section `model`; None if a field is missing or absurd.

    A tied embedding counts once. This repeats `model.gpt.parameter_count` so that `model plot` need not load PyTorch.
    """
    try:
        vocab, width, layers, head_dim = (int(model[k]) for k in ("vocab_size", "width", "layers", "head_dim"))
        heads, kv_heads, mlp, context = (int(model[k]) for k in ("heads", "kv_heads", "mlp_width", "context"))
    except (KeyError, TypeError, ValueError, OverflowError):
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
    total += layers * layer
    return total if abs(total) < 1 << 63 else None


def preset(model: Mapping[str, Any]) -> str | None:
    """The name of the preset that has this shape, with any context and vocabulary; None if there is none."""
    for name, known in PRESETS.items():
        if all(model.get(field) == value for field, value in known.shape.items() if field != "context"):
            return name
    return None


def settings(runs: Sequence[History]) -> dict[str, list[Any]]:
    """`section.setting` -> its value in each run, None if a run lacks it; in the order of the config.json files."""
    flat = [dict(_flat({part: section(run.config, part) for part in SECTIONS})) for run in runs]
    names = dict.fromkeys(name for settings in flat for name in settings)
    return {name: [settings.get(name) for settings in flat] for name in names}


def differing(runs: Sequence[History]) -> dict[str, list[Any]]:
    """The `settings` that are not equal in all runs."""
    return {name: values for name, values in settings(runs).items() if any(value != values[0] for value in values)}


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
