"""The stage of `works`, given one row at a time."""

from __future__ import annotations

from corpus.stage import Stage
from tests.support.works import Config, process

STAGE = Stage("works", Config, process, alone=True)
