"""Good texts and others -> a fastText model that tells them apart, and what it is worth.

This is the classifier of DCLM (Li et al. 2024, arXiv 2406.11794, section 4.4): fastText's linear model over words and
pairs of words, with the settings of its published training script where it names them. Examples are held out by a hash
of their text; equal texts are on the same side, and so are all pieces of one. Examples are put in the order of such a
hash, because fastText learns less from each line than from the one before: so neither the order of files nor their cut
shows in the model.

With one thread, the same examples and settings give the same bytes on the same machine; `classify_fit` says what that
takes. With more, threads race, as fastText's do.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bpe.sources import TEXT_ENDINGS, files_of, read_texts
from bpe.whole import put_in_place
from corpus.classifier import fit as classify_fit
from corpus.classifier.score import POSITIVE
from corpus.config import setting
from corpus.store.files import sha256
from corpus.text.fasttext_model import ALL, LABEL_PREFIX, load_model, one_line, predict

NEGATIVE = f"{LABEL_PREFIX}cc"
SEPARATOR = "<|endoftext|>"  # a line of its own, between the documents of a text file
# DCLM's own is .018112, which kept a tenth of its documents.
THRESHOLDS = (0.001, 0.018112, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
_BUCKETS = 64  # files in which examples wait to be put in order, one of which is in memory


@dataclass(frozen=True)
class Config:
    word_ngrams: int = setting(2, "longest run of words that counts as one (DCLM: words and pairs)", low=1, high=5)
    lr: float = setting(0.1, "learning rate (DCLM's script)", low=1e-6, high=10)
    epochs: int = setting(5, "times that every example is seen (DCLM's script)", low=1, high=1000)
    dim: int = setting(100, "size of the vector of a word (DCLM's script)", low=1, high=1000)
    min_count: int = setting(1, "a word counts if the examples have it so often (DCLM's script)", low=1)
    buckets: int = setting(2_000_000, "vectors that pairs of words share; 4 * dim bytes each (fastText)", low=1)
    held_out: float = setting(0.1, "share of the examples to measure with, not to learn from", low=0.001, high=0.9)
    max_words: int = setting(0, "cut longer examples into pieces of so many words; 0: leave them whole", low=0)
    seed: int = setting(1, "another one, other examples held out and another start", low=0, high=2**31 - 1)
    threads: int = setting(1, "more are faster, and the model is another one each time", low=1, high=256)


class Example(NamedTuple):
    label: str
    text: str  # one line
    held_out: bool


class Measured(NamedTuple):
    """What a model is worth, on the examples held out."""

    positive: int
    negative: int
    auc: float
    precision: float  # at .5
    recall: float
    thresholds: tuple[dict[str, float], ...]


def train_classifier(positive: Sequence[str], negative: Sequence[str], output: Path, config: Config) -> dict[str, Any]:
    """Write the model `output` and, beside it, what it was made from and what it is worth, which is returned.

    Raises FileNotFoundError or ValueError naming a source that is not there or has no text, an output that is no
    .bin, and settings that training fails with.
    """
    if output.suffix != ".bin":
        raise ValueError(f"{output}: a fastText model; its name should end in .bin")
    sources = {POSITIVE: positive, NEGATIVE: negative}
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".classify-", dir=output.parent) as name:
        folder = Path(name)
        counts = _write_examples(_examples(sources, config), folder, config.seed)
        for label in sources:
            for side in ("train", "held_out"):
                if not counts.get(f"{label} {side}"):
                    raise ValueError(
                        f"{', '.join(sources[label])}: no example to {'learn from' if side == 'train' else 'measure'}"
                        f" of {sum(counts.get(f'{label} {of}', 0) for of in ('train', 'held_out'))}; give more text"
                    )
        _fit(folder, config)
        measured = measure(folder / "model.bin", (folder / "held_out").read_text(encoding="utf-8").splitlines())
        told = {
            "positive": list(positive),
            "negative": list(negative),
            "labels": [POSITIVE, NEGATIVE],
            "settings": asdict(config),
            "examples": dict(sorted(counts.items())),
            "held_out": measured._asdict(),
            "sha256": sha256(folder / "model.bin"),
        }
        (folder / "model.json").write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        put_in_place(folder / "model.json", output.with_suffix(".json"))
        put_in_place(folder / "model.bin", output)
    return told


def documents_of(source: str) -> Iterator[str]:
    """The documents of a dataset, a Parquet or JSON lines file (column `text`), a text file, or a folder of them."""
    for file in files_of(Path(source)):
        if file.name.endswith(TEXT_ENDINGS):
            yield from _separated(read_texts([file]))
        else:
            for item in read_texts([file]):
                yield from [item] if isinstance(item, str) else (text or "" for text in item.to_pylist())


def _separated(runs: Iterable[Any]) -> Iterator[str]:
    """Runs of whole lines -> documents, cut at lines that hold SEPARATOR and nothing else."""
    lines: list[str] = []
    for run in runs:
        for line in run.split("\n"):
            if line.strip() == SEPARATOR:
                yield "\n".join(lines)
                lines = []
            else:
                lines.append(line)
    yield "\n".join(lines)


def _examples(sources: dict[str, Sequence[str]], config: Config) -> Iterator[Example]:
    bound = int(config.held_out * 2**64)
    for label, paths in sources.items():
        for path in paths:
            for text in documents_of(path):
                held_out = int.from_bytes(_digest(text, config.seed)[:8], "little") < bound
                for piece in _pieces(text, config.max_words):
                    yield Example(label, piece, held_out)


def _pieces(text: str, max_words: int) -> Iterator[str]:
    """One line each, in which no word is a label."""
    words = [word for word in one_line(text).replace(LABEL_PREFIX, "label ").split(" ") if word and not word.isspace()]
    size = max_words or len(words)
    for start in range(0, len(words), size or 1):
        yield " ".join(words[start : start + size])


def _digest(text: str, seed: int) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16, key=seed.to_bytes(4, "little")).digest()


def _write_examples(examples: Iterable[Example], folder: Path, seed: int) -> dict[str, int]:
    """Write the files `train` and `held_out`, an example a line behind its label; returns how many of each label."""
    counts: dict[str, int] = {}
    buckets = [(folder / f"bucket-{number}").open("w", encoding="utf-8", newline="\n") for number in range(_BUCKETS)]
    for example in examples:
        side = "held_out" if example.held_out else "train"
        counts[f"{example.label} {side}"] = counts.get(f"{example.label} {side}", 0) + 1
        digest = _digest(example.text, seed + 1)
        buckets[digest[0] % _BUCKETS].write(f"{digest.hex()} {side} {example.label} {example.text}\n")
    for bucket in buckets:
        bucket.close()
    sides = {side: (folder / side).open("w", encoding="utf-8", newline="\n") for side in ("train", "held_out")}
    for bucket in buckets:
        with Path(bucket.name).open(encoding="utf-8", newline="\n") as lines:
            for line in sorted(lines):
                _, side, labelled = line.split(" ", 2)
                sides[side].write(labelled)
        Path(bucket.name).unlink()
    for file in sides.values():
        file.close()
    return counts


def _fit(folder: Path, config: Config) -> None:
    settings = {
        "input": str(folder / "train"),
        "output": str(folder / "model.bin"),
        "lr": config.lr,
        "epoch": config.epochs,
        "dim": config.dim,
        "minCount": config.min_count,
        "wordNgrams": config.word_ngrams,
        "bucket": config.buckets,
        "seed": config.seed,
        "thread": config.threads,
    }
    fit(settings, config.lr)


def fit(settings: dict[str, Any], lr: float) -> None:
    """Train with these arguments of fastText, in a process of its own. Raises ValueError if that fails."""
    done = subprocess.run(
        # -P: what lies beside the script is not to be taken for libraries.
        [sys.executable, "-P", classify_fit.__file__, json.dumps(settings)],
        env=os.environ | {"MALLOC_PERTURB_": "255"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or [f"exit {done.returncode}"]
        hint = f"; lr = {lr}: a smaller one may help" if "NaN" in reason[0] else ""
        raise ValueError(f"fastText does not train: {reason[0]}{hint}")


def measure(path: Path, lines: Sequence[str]) -> Measured:
    """What the model at `path` makes of `lines`, each a label and a text."""
    model = load_model(path, "train it again")
    labels, values = [], []
    for line in lines:
        label, _, text = line.partition(" ")
        labels.append(label == POSITIVE)
        values.append(next((value for value, name in predict(model, text, ALL) if name == POSITIVE), 0.0))
    return measured(np.array(labels), np.minimum(np.array(values), 1.0))


def measured(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> Measured:
    """Of each example whether it is a good one, and its score."""
    hits, kept = positive & (scores >= 0.5), scores >= 0.5
    return Measured(
        int(positive.sum()),
        int((~positive).sum()),
        area_under_curve(positive, scores),
        float(hits.sum() / max(kept.sum(), 1)),
        float(hits.sum() / max(positive.sum(), 1)),
        tuple(
            {
                "threshold": threshold,
                "kept": float((scores >= threshold).mean()),
                "positive_kept": float((scores[positive] >= threshold).mean()),
                "negative_kept": float((scores[~positive] >= threshold).mean()),
            }
            for threshold in THRESHOLDS
        ),
    )


def area_under_curve(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    """The probability that a good example scores higher than another one, ties counted half (Mann and Whitney)."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    n = int(positive.sum())
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * (len(scores) - n)))
