"""Good texts and other texts -> a fastText model that tells them apart, and how well it does on texts held out.

This is the classifier of DCLM (Li et al. 2024, arXiv 2406.11794, section 4.4): fastText's linear model over words and
pairs of words, with the settings of its published training script where the script names them. A hash of its text
decides whether an example is held out, so equal texts are on one side, and so are all pieces of one text. fastText
learns less from each line than from the line before; examples are therefore put in the order of such a hash, and
neither the order of files nor their cut changes the model.

With one thread, the same examples and settings give the same bytes on the same machine; `corpus.classifier.fit` says
how. With several threads, the threads race, and each training gives another model.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bpe.sources import TEXT_ENDINGS, files_of, read_texts
from bpe.whole import make_folder, put_in_place
from corpus.classifier.config import POSITIVE
from corpus.classifier.fit import fit
from corpus.config import setting
from corpus.store.files import sha256
from corpus.text.fasttext_model import ALL, LABEL_PREFIX, load_model, one_line, predict

NEGATIVE = f"{LABEL_PREFIX}cc"
SEPARATOR = "<|endoftext|>"  # a line of its own, between the documents of a text file
# DCLM's own threshold is .018112, which kept a tenth of its documents.
THRESHOLDS = (0.001, 0.018112, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
_FILES = 64  # files that examples are sorted in; one at a time is in memory


@dataclass(frozen=True)
class Config:
    word_ngrams: int = setting(
        2, "most words of an n-gram that has weights of its own (DCLM: words and pairs)", low=1, high=5
    )
    lr: float = setting(0.1, "learning rate (DCLM's script)", low=1e-6, high=10)
    epochs: int = setting(5, "times that training reads every example (DCLM's script)", low=1, high=1000)
    dim: int = setting(100, "numbers in the vector of a word (DCLM's script)", low=1, high=1000)
    min_count: int = setting(1, "fewest appearances of a word that gets a vector (DCLM's script)", low=1)
    buckets: int = setting(2_000_000, "vectors that n-grams share by their hash; 4 * dim bytes each (fastText)", low=1)
    held_out: float = setting(0.1, "share of the examples to measure with, and not to train with", low=0.001, high=0.9)
    max_words: int = setting(0, "cut longer examples into pieces of this many words; 0: leave them whole", low=0)
    seed: int = setting(1, "decides which examples are held out, and the first weights", low=0, high=2**31 - 1)
    threads: int = setting(1, "threads; with more than one, each training gives another model", low=1, high=256)


class Example(NamedTuple):
    """One line of text with its label, to train with or to measure with."""

    label: str
    text: str
    held_out: bool


class Measured(NamedTuple):
    """How well a model tells the examples that were held out.

    positive, negative  the numbers of good examples and of others
    auc                 the area under the curve, see `area_under_curve`
    precision, recall   of the good examples, where a score of 0.5 counts as good
    thresholds          the shares of examples that THRESHOLDS keep
    """

    positive: int
    negative: int
    auc: float
    precision: float
    recall: float
    thresholds: tuple[dict[str, float], ...]


def train_classifier(positive: Sequence[str], negative: Sequence[str], output: Path, config: Config) -> dict[str, Any]:
    """Write the model `output` and, beside it, a report on its sources and its quality; returns the report.

    Raises FileNotFoundError or ValueError naming a source that does not exist or has no text, an output that does not
    end in .bin, or the settings that training fails with.
    """
    if output.suffix != ".bin":
        raise ValueError(f"{output}: a fastText model; its name should end in .bin")
    sources = {POSITIVE: positive, NEGATIVE: negative}
    make_folder(output.parent)
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
        _fit_files(folder, config)
        measured = measure(folder / "model.bin", (folder / "held_out").read_text(encoding="utf-8").splitlines())
        report = {
            "positive": list(positive),
            "negative": list(negative),
            "labels": [POSITIVE, NEGATIVE],
            "settings": asdict(config),
            "examples": dict(sorted(counts.items())),
            "held_out": measured._asdict(),
            "sha256": sha256(folder / "model.bin"),
        }
        (folder / "model.json").write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        put_in_place(folder / "model.json", output.with_suffix(".json"))
        put_in_place(folder / "model.bin", output)
    return report


def documents_of(source: str) -> Iterator[str]:
    """The documents of a dataset, a Parquet or JSON lines file (column `text`), a text file, or a folder of them."""
    for file in files_of(Path(source)):
        if file.name.endswith(TEXT_ENDINGS):
            yield from _separated(read_texts([file]))
        else:
            for item in read_texts([file]):
                yield from [item] if isinstance(item, str) else (text or "" for text in item.to_pylist())


def _separated(runs: Iterable[Any]) -> Iterator[str]:
    """Runs of whole lines -> documents, cut at lines that are SEPARATOR alone."""
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
    """The pieces of a text, each one line without a word that fastText would read as a label."""
    words = [word for word in one_line(text).replace(LABEL_PREFIX, "label ").split(" ") if word and not word.isspace()]
    size = max_words or len(words)
    for start in range(0, len(words), size or 1):
        yield " ".join(words[start : start + size])


def _digest(text: str, seed: int) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16, key=seed.to_bytes(4, "little")).digest()


def _write_examples(examples: Iterable[Example], folder: Path, seed: int) -> dict[str, int]:
    """Write the files `train` and `held_out`, in the order of a hash: on each line a label and its text.

    Returns the number of examples by label and file.
    """
    counts: dict[str, int] = {}
    parts = [(folder / f"part-{number}").open("w", encoding="utf-8", newline="\n") for number in range(_FILES)]
    for example in examples:
        side = "held_out" if example.held_out else "train"
        counts[f"{example.label} {side}"] = counts.get(f"{example.label} {side}", 0) + 1
        digest = _digest(example.text, seed + 1)
        parts[digest[0] % _FILES].write(f"{digest.hex()} {side} {example.label} {example.text}\n")
    for part in parts:
        part.close()
    sides = {side: (folder / side).open("w", encoding="utf-8", newline="\n") for side in ("train", "held_out")}
    for part in parts:
        with Path(part.name).open(encoding="utf-8", newline="\n") as lines:
            for line in sorted(lines):
                _, side, labelled = line.split(" ", 2)
                sides[side].write(labelled)
        Path(part.name).unlink()
    for file in sides.values():
        file.close()
    return counts


def _fit_files(folder: Path, config: Config) -> None:
    """Train `model.bin` in the folder from the examples in its file `train`."""
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


def measure(path: Path, lines: Sequence[str]) -> Measured:
    """How well the model at `path` tells good lines from others; a line is a label and a text."""
    model = load_model(path, "train it again")
    labels, values = [], []
    for line in lines:
        label, _, text = line.partition(" ")
        labels.append(label == POSITIVE)
        values.append(next((value for value, name in predict(model, text, ALL) if name == POSITIVE), 0.0))
    return measured(np.array(labels), np.minimum(np.array(values), 1.0))


def measured(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> Measured:
    """The figures of examples: `positive` bool[examples] says which are good, `scores` float64[examples]."""
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
    """The probability that a good example scores higher than another example; a tie counts half (Mann and Whitney).

    positive bool[examples], scores float64[examples].
    """
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    n = int(positive.sum())
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * (len(scores) - n)))
