"""The passes that keep a share of all documents: two find the cutoff, the last one keeps the documents that reach it.

scores        a unit for each shard    the scores of its documents
cutoff        one unit                 the score that the wanted share of all documents reaches
(documents)   a unit for each shard    its documents with at least that score, through the stages behind
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from corpus.classifier.config import Apply
from corpus.classifier.work import CutoffWork, read_cutoff
from corpus.run.barrier import BarrierJob, documents_behind, finished, labelled, shard_pass
from corpus.run.chain import Step
from corpus.run.plan import Pass, global_pass, with_no_others
from corpus.run.recipe import describe
from corpus.store.shards import Dataset

DATASETS = ("scores", "cutoff")


def score_passes(job: BarrierJob, steps: Sequence[Step], output: str) -> Iterator[Pass]:
    """All passes, each planned when the one before it is done; `steps` are the stage `classifier` and those behind it.

    Raises Conflict if a folder holds other units.
    """
    yield from with_no_others(_passes(job, steps, output))


def _passes(job: BarrierJob, steps: Sequence[Step], output: str) -> Iterator[Pass]:
    config = steps[0].config
    scores, cutoffs = f"{job.work}/scores", f"{job.work}/cutoff"
    score = Step("scores", "corpus.classifier.scores", config)
    yield from finished(job, shard_pass(job, score, scores, "labels", describe(steps[:1])))
    find_cutoff = global_pass(
        "cutoff",
        cutoffs,
        ["all"],
        Dataset(scores).whole("labels"),
        describe(steps[:1]),
        lambda digest: CutoffWork("cutoff", config, cutoffs, digest, scores),
    )
    yield from finished(job, find_cutoff)
    cutoff = read_cutoff(Dataset(cutoffs))
    apply = Step("classifier", "corpus.classifier.apply", Apply(cutoff, config))
    units = labelled(job.documents, scores)
    yield documents_behind(job, apply, steps, output, units, {"cutoff": cutoff}, scores)
