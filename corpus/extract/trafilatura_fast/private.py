"""A copy of trafilatura that nobody else sees, in which parts can be replaced.

The installed package is loaded a second time, under a name of our own. Its modules import each other relatively, so the
copy is complete, and a replacement in the copy leaves `import trafilatura` as it was: one process can use both. The
replacements are equal to the original only for the sources that they were compared with. So `load` copies these sources
alone, which it knows by version and hash; for any other, it says what is different.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import logging
import sys
import types
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

VERSION = "2.3.1"
NAME = "corpus_private_trafilatura"
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
    package = types.ModuleType(NAME, "A private copy of trafilatura.")
    package.__path__ = [str(folder)]
    sys.modules[NAME] = package
    for name in _SOURCES:
        importlib.import_module(f"{NAME}.{name}")
    logging.getLogger(NAME).addHandler(logging.NullHandler())
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
