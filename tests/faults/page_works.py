"""The faulty stage of `works`, given pages one at a time."""

from __future__ import annotations

from corpus.stage import Stage
from tests.faults.works import Config, process

STAGE = Stage("faulty", Config, process, reads="pages", alone=True)
