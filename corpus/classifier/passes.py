"""The passes of a share of the best: two that find out which score it reaches, one that keeps what has it.

scores        a unit a shard     of its documents
cutoff        one unit           of all scores
(documents)   a unit a shard     with at least that score, through the stages that follow
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from corpus.classifier.apply import Config as Apply
from corpus.classifier.work import CutoffWork, cutoff_of
from corpus.run.barrier import BarrierJob, documents_behind, labelled, shard_pass
from corpus.run.chain import Step
from corpus.run.plan import Pass, global_pass, wait_for, with_no_others
from corpus.run.recipe import describe
from corpus.store.shards import Dataset

DATASETS = ("scores", "cutoff")


def score_passes(job: BarrierJob, steps: Sequence[Step], output: str) -> Iterator[Pass]:
    """All passes, `steps` being the stage `classifier` and those behind it; each planned when the last one is done.

    Raises Conflict if a folder holds other units.
    """
    yield from with_no_others(_passes(job, steps, output))


def _passes(job: BarrierJob, steps: Sequence[Step], output: str) -> Iterator[Pass]:
    config = steps[0].config
    scores, cutoff = f"{job.work}/scores", f"{job.work}/cutoff"
    score = Step("scores", "corpus.classifier.scores", config)
    yield shard_pass(job, score, scores, "labels", describe(steps[:1]))
    wait_for(scores, job.keys, job.share)
    yield global_pass(
        "cutoff",
        cutoff,
        ["all"],
        Dataset(scores).whole("labels"),
        describe(steps[:1]),
        lambda digest: CutoffWork("cutoff", config, cutoff, digest, scores),
    )
    wait_for(cutoff, ["all"], job.share)
    found = cutoff_of(Dataset(cutoff))
    apply = Step("classifier", "corpus.classifier.apply", Apply(found, config))
    units = labelled(job.documents, scores)
    yield documents_behind(job, apply, steps, output, units, {"cutoff": found}, scores)
