"""Several processes that train together, without torchrun."""

from __future__ import annotations

import os
import socket

ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}  # as torchrun sets it; two would sum in another order


def torchruns_variables(processes: int) -> list[dict[str, str]]:
    if processes == 1:
        return [{}]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        shared = {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    return [{**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(processes)]
