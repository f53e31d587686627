"""The extractors that the stage `extract` chooses from, and what an extractor is.

An extractor finds the main text of a page, mostly by somebody's library. To add one, write a module beside this file
with a constant `EXTRACTOR`, which is an `Extractor`, and add its line to `EXTRACTORS`. The choices and the help of the
setting `extractor`, the versions in the config hash and the errors are derived from these two. The module is imported
only where the extractor is chosen, and its library only before a page is read.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol


class Listed(NamedTuple):
    """A line of the table of extractors.

    module  the path of the module that has the EXTRACTOR
    about   what it is good at, for the help of the setting `extractor`
    """

    module: str
    about: str


EXTRACTORS = {
    "trafilatura": Listed("corpus.extract.extractors.trafilatura", "as FineWeb"),
    "resiliparse": Listed(
        "corpus.extract.extractors.resiliparse",
        "five times as fast, with more boilerplate and fewer whole texts; it follows tables and comments, but neither"
        " favor, deduplicate nor count-retries",
    ),
}


class Settings(Protocol):
    """The settings of the stage that an extractor may follow; `corpus.extract.stage.Config` explains them.

    The stage applies all its other settings (the shortest text, the limits) to every extractor.
    """

    @property
    def extractor(self) -> str: ...
    @property
    def accelerated(self) -> bool: ...
    @property
    def favor(self) -> str: ...
    @property
    def tables(self) -> bool: ...
    @property
    def comments(self) -> bool: ...
    @property
    def deduplicate(self) -> bool: ...
    @property
    def count_retries(self) -> bool: ...


Extract = Callable[[str, Settings], str | None]  # (the HTML of a page, settings) -> its main text; None if it has none


@dataclass(frozen=True)
class Extractor:
    """What the stage asks of an extractor.

    load         (settings) -> the function that extracts. The answer of that function depends on its two arguments
                 alone, and not on the pages before. `load` is called for every page; it imports the library, before
                 the time of the first page is running. ImportError means that the library is not installed
    follows      the names of the `Settings` that change its text
    libraries    the distributions whose versions show in its text; they become part of the config hash
    requirement  what to give to `pip install`, if the toolkit does not install the library itself. A recipe that
                 chooses the extractor is then refused where the library is missing
    errors       () -> the exceptions of its library that odd markup can raise, besides Python's own
    """

    load: Callable[[Settings], Extract]
    follows: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    requirement: str = ""
    errors: Callable[[], tuple[type[Exception], ...]] = tuple


def find_extractor(name: str) -> Extractor:
    """The extractor of this name. Raises ValueError that lists the known names."""
    if name not in EXTRACTORS:
        raise ValueError(f"extractor = {name!r}: should be one of {', '.join(EXTRACTORS)}")
    extractor: Extractor = importlib.import_module(EXTRACTORS[name].module).EXTRACTOR
    return extractor


def load_extractor(settings: Settings) -> Extract:
    """The function of the chosen extractor, with its library loaded. Raises ValueError that says what to install."""
    extractor = find_extractor(settings.extractor)
    try:
        return extractor.load(settings)
    except ImportError:
        if not extractor.requirement:
            raise
        raise ValueError(
            f"extractor = {settings.extractor!r}: the library is not installed: pip install {extractor.requirement!r}"
        ) from None
