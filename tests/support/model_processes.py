"""Several processes that train together, without torchrun: forks of one process that has imported PyTorch.

To import PyTorch and its parallel part takes a process two seconds, longer than what most tests let it do.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from pathlib import Path

PRELOADED = ["model.commands.pretrain", "model.train", "torch.distributed.fsdp", "torch.distributed.checkpoint"]
PRELOADED += ["tests.support.model_shards"]


def forks() -> ForkServerContext:
    """Makes processes that have imported PyTorch; the first call of a test process decides what they know."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


def torchruns_variables(processes: int) -> list[dict[str, str]]:
    if processes == 1:
        return [{}]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        shared = {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    return [{**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(processes)]


def run_together(processes: int, function: Callable[..., None], arguments: tuple[object, ...], folder: Path) -> str:
    """Call the function in so many processes, as torchrun would start them; returns what they print.

    `folder` is for files of what they print. Fails with the standard error of a process that ends with an error.
    """
    context, started = forks(), []
    folder.mkdir(parents=True, exist_ok=True)
    for variables in torchruns_variables(processes):
        prefix = folder / variables.get("RANK", "0")
        process = context.Process(target=_called, args=(variables, str(prefix), function, arguments))
        process.start()
        started.append((process, prefix))
    for process, prefix in started:
        process.join(300)
        assert process.exitcode == 0, prefix.with_suffix(".err").read_text()
    return "".join(prefix.with_suffix(".out").read_text() for _, prefix in started)


def _called(
    variables: dict[str, str], prefix: str, function: Callable[..., None], arguments: tuple[object, ...]
) -> None:
    os.environ.update(variables)
    for stream, name in ((1, ".out"), (2, ".err")):
        file = os.open(prefix + name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, stream)
        os.close(file)
    function(*arguments)


def model(arguments: list[str]) -> None:
    """The command `model` with these arguments."""
    from model.cli import main

    sys.argv = ["model", *arguments]
    main()
