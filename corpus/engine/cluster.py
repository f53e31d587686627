"""The Ray cluster as its driver sees it: joining it, its nodes, and what its errors mean.

In: the cluster's address. Out: a connection, or a ValueError that says in one line why there is none; and `Nodes`,
which knows the nodes that can run units and the nodes to avoid.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterable
from typing import Any

_COUNT_EVERY = 5.0  # seconds between two counts of the nodes
_CONNECT = 10.0  # seconds for a first connection to the cluster
_SPARE = 0.25  # tasks that wait for a processor, as a share of the processors: an autoscaler sees them and grows


class Nodes:
    """The cluster's nodes that can run units, by id; and the suspects among them, which are to be avoided."""

    def __init__(self, silence: float) -> None:
        self.silence = silence
        self.suspects: set[str] = set()  # nodes that fell silent with a unit
        self._alive: dict[str, dict[str, Any]] = {}
        self._ages: dict[str, float] = {}
        self._counted = 0.0

    def count(self) -> None:
        """Ask the cluster for its nodes, unless that was done a moment ago."""
        import ray

        if time.monotonic() < self._counted + _COUNT_EVERY and self._alive:
            return
        self._counted = time.monotonic()
        cluster: Any = ray
        self._alive = {n["NodeID"]: n for n in cluster.nodes() if n["Alive"] and n["Resources"].get("CPU", 0) >= 1}
        self.suspects &= self._alive.keys()

    def window(self) -> int:
        """How many tasks to keep in flight: as many as there are processors, and some that wait."""
        cpus = sum(int(node["Resources"]["CPU"]) for key, node in self._alive.items() if key not in self.suspects)
        return cpus + max(2, int(cpus * _SPARE))

    def heard(self, ages: dict[str, float]) -> None:
        """Note how many seconds ago each node was heard. A suspect that was heard lately is none any more."""
        self._ages = ages
        self.suspects -= {node for node, age in ages.items() if age < self.silence / 2}

    def suspect(self, node: str) -> None:
        """A unit on this node fell silent. The node is a suspect, unless other units on it are still heard."""
        if node in self._alive and self._ages.get(node, self.silence) > self.silence / 2:
            self.suspects.add(node)

    def quiet(self) -> set[str]:
        """The nodes that have not been heard lately. They may just have had nothing to do."""
        return {node for node in self._alive if self._ages.get(node, self.silence) >= self.silence}

    def avoidable(self, unwanted: Iterable[str]) -> frozenset[str]:
        """The unwanted nodes that are alive; none of them, if no other node would be left."""
        alive = self._alive.keys() & set(unwanted)
        return frozenset(alive) if alive != self._alive.keys() else frozenset()

    def are_all_in(self, nodes: frozenset[str]) -> bool:
        """Whether every node that is alive is one of `nodes`."""
        return bool(self._alive) and self._alive.keys() <= nodes

    def largest_memory(self, avoided: Iterable[str]) -> int:
        """Bytes of memory of the largest node that is not avoided."""
        usable = self._alive.keys() - set(avoided)
        return max((int(self._alive[node]["Resources"].get("memory", 0)) for node in usable), default=1 << 62)

    def address(self, node: str) -> str:
        """A node's address for people; the beginning of its id if it is gone."""
        return str(self._alive[node]["NodeManagerAddress"]) if node in self._alive else node[:8]


def connect(address: str) -> None:
    """Join the cluster. Raises ValueError, in one line, if that fails."""
    try:
        import ray
    except ModuleNotFoundError:
        raise ValueError("the engine ray needs Ray: pip install '.[ray]'") from None
    _check(address)
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ray.exceptions.AuthenticationError, RuntimeError, ConnectionError, ValueError) as error:
        text = " ".join(str(error).split())
        if "Version mismatch" in text:
            raise ValueError(f"{text}; use the cluster's versions here, or submit this as a Ray job") from None
        if isinstance(error, ray.exceptions.AuthenticationError):
            text = "it demands a token"
        raise ValueError(
            f"cannot join the Ray cluster at {address}: {text}; run this on one of its nodes, or as a Ray job, and "
            "give the cluster's token, if it has one (RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH)"
        ) from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)  # Ray has put its own handler there


def _check(address: str) -> None:
    """Refuse an address that names no cluster, or is not host:port, before Ray tries it for minutes."""
    if not address or address == "local":
        raise ValueError(
            "set RAY_ADDRESS to a running Ray cluster, as host:port (on one of its nodes: RAY_ADDRESS=auto); "
            "this command does not start a cluster"
        )
    if "://" in address:
        raise ValueError(
            f"RAY_ADDRESS={address}: give host:port (port 6379 by default) on a node of the cluster; "
            "from outside of the cluster, submit this command as a Ray job"
        )
    host, colon, port = address.rpartition(":")
    if not colon:
        return  # "auto"
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT).close()
    except (OSError, ValueError) as error:
        raise ValueError(f"no Ray cluster at RAY_ADDRESS={address} ({error}); is it running?") from None


def quiet_stdout() -> contextlib.redirect_stdout[Any]:
    """Send what Ray prints about the cluster to stderr: only our results belong on stdout."""
    return contextlib.redirect_stdout(sys.stderr)


def reason(error: BaseException) -> str:
    """The line of Ray's message that names the reason: the last one of a traceback, else the first."""
    from ray.exceptions import RayTaskError

    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return lines[-1 if isinstance(error, RayTaskError) else 0]


def not_installed(error: BaseException) -> str | None:
    """A line that says so if Ray could not load our code on a node, else None."""
    text = str(error)
    if "failed to import on the worker" not in text:
        return None
    return f"this package cannot be loaded on a node of the cluster; install it on all ({text.splitlines()[-1]})"
