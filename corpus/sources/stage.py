"""DOCUMENTS -> DOCUMENTS: takes documents of a dataset into another one as they are.

`corpus import` joins several inputs. A dataset of ours goes through this step, so that its documents have an account
as the rows of other people's files have.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from corpus.schema import Outcome, dropped_rows
from corpus.sources.documents import NAME, RULES
from corpus.stage import Stage


@dataclass(frozen=True)
class Config:
    """No settings."""


def process(batch: pa.RecordBatch, config: Config) -> Outcome:
    """All rows of the batch."""
    return Outcome(batch, dropped_rows(batch, NAME, {}))


STAGE = Stage(NAME, Config, process, rules=RULES)
