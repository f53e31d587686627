"""The `model` command: pretrain, sample, eval, export, import, plot.

How errors become lines and exit codes stands in bpe.terminal.program. PyTorch is imported when a command runs, so that
--help answers at once.
"""

from __future__ import annotations

import os

from bpe.terminal.program import Program

COMMANDS = {
    "pretrain": ("model.commands.pretrain:pretrain", "Train a model on token shards, or resume a run."),
    "sample": ("model.commands.sample:sample", "Continue a prompt."),
    "eval": ("model.commands.evaluate:evaluate", "Score a model on token shards and multiple choice."),
    "export": ("model.commands.exchange:export", "Write a model for Hugging Face's transformers."),
    "import": ("model.commands.exchange:import_", "Make a run of a Hugging Face model."),
    "plot": ("model.commands.plot:plot", "Compare runs on one HTML page."),
}


def _start() -> None:
    # PyTorch's OpenMP reads this once, when it is imported. By default idle threads spin for long, which on a machine
    # whose cores others want too was measured to take training from 1 to 15 seconds a step; to sleep at once costs a
    # sixth of the speed on a machine of one's own. This count is some microseconds.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")


main = Program(
    "model",
    COMMANDS,
    help="""Train a small Transformer on token shards, and use it.

    Examples:
      model pretrain --data tokens/ --preset tiny -o runs/first
      model sample runs/first --prompt "The" -n 3
      model eval runs/first --data other-tokens/ --json
      model export runs/first -o hf/

    Token shards are made by `corpus tokenize`. A run is a directory of checkpoints, metrics and settings.
    """,
    extra="[model]",
    start=_start,
)
