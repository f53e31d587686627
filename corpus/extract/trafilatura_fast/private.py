"""Copies of trafilatura that nobody else sees, in which parts can be replaced.

The installed package is loaded a second time, under a name of our own. Its modules import each other relatively, so the
copy is complete, and a replacement in the copy leaves `import trafilatura` as it was: one process can use both. The
replacements are equal to the original only for the sources that they were compared with. So `load` copies these sources
alone, which it knows by version and hash; for any other, it says what is different.

`load_forgetful` makes another copy, of any version: trafilatura as it is, but for its memory of segments.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import inspect
import logging
import sys
import types
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

VERSION = "2.3.1"
NAME = "corpus_private_trafilatura"
_FORGETFUL = "corpus_forgetful_trafilatura"
_SOURCES = (
    *("baseline", "core", "deduplication", "external", "htmlprocessing", "main_extractor", "readability_lxml"),
    *("settings", "utils", "xml", "xpaths"),
)
_SHA256 = "b3cebbf132997c6eee763a5cb4a669b55e814d4f300a28d1876901692ee709db"


class Unknown(Exception):
    """The replacements were made for another trafilatura than this; the message says what is different."""


@functools.cache
def load() -> Any:
    """The private copy, with its modules as attributes (`.core`, `.xml`, ...). Raises Unknown."""
    folder = _folder()
    installed = _version()
    if installed != VERSION:
        raise Unknown(f"trafilatura {installed} is installed, the fast path is made for {VERSION}")
    if sources_hash(folder) != _SHA256:
        raise Unknown(f"the sources of trafilatura {VERSION} in {folder} are not the published ones")
    return _copy(NAME, folder)


@functools.cache
def load_forgetful() -> Any:
    """A copy of the installed trafilatura that forgets all segments before each pass over a page.

    Its answer is right for a page if `extract` gets a new LRUCache of the copy as `deduplicate`. Every version can be
    copied whose passes begin with the functions of version 2.3.1; raises Unknown for any other.
    """
    copied = _copy(_FORGETFUL, _folder())
    try:
        # The first begins the search of a part of the page; the second judges the text of all that was found.
        for module, name in ((copied.main_extractor, "prune_unwanted_sections"), (copied.core, "duplicate_test")):
            setattr(module, name, _forgetting_first(getattr(module, name)))
    except (AttributeError, ValueError):
        raise Unknown(f"the passes of trafilatura {_version()} are not those of {VERSION}") from None
    return copied


def _forgetting_first(step: Callable[..., Any]) -> Callable[..., Any]:
    """The step of trafilatura, before which the memory of segments in its `options` is cleared."""
    options_at = list(inspect.signature(step).parameters).index("options")

    @functools.wraps(step)
    def forgets(*arguments: Any, **named: Any) -> Any:
        options = named["options"] if "options" in named else arguments[options_at]
        if options.dedup:
            options.dedup.clear()
        return step(*arguments, **named)

    return forgets


def _copy(name: str, folder: Path) -> Any:
    """The package in a folder, imported under another name."""
    package = types.ModuleType(name, "A private copy of trafilatura.")
    package.__path__ = [str(folder)]
    sys.modules[name] = package
    for module in _SOURCES:
        importlib.import_module(f"{name}.{module}")
    logging.getLogger(name).addHandler(logging.NullHandler())
    return package


def sources_hash(folder: Path) -> str:
    """SHA-256 over the modules that extraction uses, in the folder of a trafilatura."""
    digest = hashlib.sha256()
    for name in _SOURCES:
        digest.update((folder / f"{name}.py").read_bytes())
    return digest.hexdigest()


def _folder() -> Path:
    spec = importlib.util.find_spec("trafilatura")
    if spec is None or not spec.submodule_search_locations:
        raise Unknown("trafilatura is not installed")
    return Path(next(iter(spec.submodule_search_locations)))


def _version() -> str:
    try:
        return version("trafilatura")
    except PackageNotFoundError:
        return "of unknown version"
