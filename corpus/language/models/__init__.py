"""The language models that the stages `language` and `prescreen` can use, and what a language model is.

A language model says in which language a text is. To add a kind of model, write a module beside this file with a
constant `KIND`, a `ModelKind`, and add its line to `MODELS`. No setting names a kind: the setting `model` names a file,
and the suffix of the file tells its kind. Without that setting, the first kind of the table finds a file by itself.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

from corpus.store.files import sha256

MODELS = {
    "lid.176": "corpus.language.models.lid176",
}


class LanguageModel(Protocol):
    """A language model that is loaded. Its answers depend on the text alone. Labels are ISO 639 codes."""

    def identify(self, text: str) -> tuple[str, float]:
        """(label, score between 0 and 1) of the likeliest language; ("", 0.0) where the model has no answer."""
        ...

    def probability(self, text: str, labels: Collection[str]) -> float:
        """The probability, between 0 and 1, that the text is in one of the languages."""
        ...


@dataclass(frozen=True)
class ModelKind:
    """What the stages ask of a kind of language model.

    suffixes   the ends of its files' names, such as ".bin"
    find       (path, or None) -> the file of the model; FileNotFoundError says how to get one
    load       (file) -> the model. Loads a file once a process; ValueError says what is wrong with it
    libraries  the distributions whose versions show in its answers; they become part of the config hash
    labels     (path, or None) -> the labels of the model; empty where they are not known, and any label is accepted
    suggest    (a label that is none, the labels) -> the label that is probably meant, or None
    """

    suffixes: tuple[str, ...]
    find: Callable[[str | None], Path]
    load: Callable[[Path], LanguageModel]
    libraries: tuple[str, ...] = ()
    labels: Callable[[str | None], frozenset[str]] = lambda path: frozenset()
    suggest: Callable[[str, frozenset[str]], str | None] = lambda label, labels: None


def load_model(path: str | None) -> LanguageModel:
    """The model in a file, or without a path the model that is installed.

    Raises FileNotFoundError that says how to get a model, and ValueError if the file is no model.
    """
    kind = kind_of(path)
    return kind.load(kind.find(path))


def check_labels(labels: Collection[str], path: str | None) -> None:
    """Raises ValueError, which suggests the right one, if one of the labels is none of the model's.

    Without this check, all documents would be dropped for another language.
    """
    kind = kind_of(path)
    known = kind.labels(path)
    for label in labels if known else ():
        if label not in known:
            meant = kind.suggest(label, known)
            listed = ", ".join(sorted(known)) if len(known) < 20 else f"{len(known)} labels, such as en, de or zh"
            fix = f"did you mean {meant}?" if meant else f"the language model knows {listed}"
            raise ValueError(f"languages = {label!r}: no such language; {fix}")


def kind_of(path: str | None) -> ModelKind:
    """The first kind in the table to which the suffix of the file belongs; the first of all without a path."""
    kinds: Iterator[ModelKind] = (importlib.import_module(module).KIND for module in MODELS.values())
    first = next(kinds)
    if path is None or path.endswith(first.suffixes):
        return first
    return next((kind for kind in kinds if path.endswith(kind.suffixes)), first)


def resources(path: str | None, libraries: Collection[str]) -> dict[str, str]:
    """What decides the answers besides the setting `model` and the stage's own `libraries`.

    This is the content of a model that no setting names, and the versions of the kind's other libraries.
    """
    kind = kind_of(path)
    versions = {library: version(library) for library in kind.libraries if library not in libraries}
    return versions | ({} if path else {"model": sha256(kind.find(None))})
