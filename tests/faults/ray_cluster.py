"""A Ray cluster of our own: its nodes are processes of this machine, each in a session that a test can kill as a whole.

The nodes have addresses on the loopback interface. If root may make network namespaces, each node can also have a
network of its own, with a cable between them that a test can pull.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.driver import is_gone, living

# Without tokens, usage reports, or the settings of the person who runs the tests.
ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")} | {
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
}


@dataclass
class Node:
    """A node, started by `ray start --block`; all its processes are in the session of that process."""

    process: subprocess.Popen[str]
    address: str  # of the cluster's head, host:port

    def raylet(self) -> int:
        """The id of the raylet, the process whose end is the end of the node for Ray."""
        for process in living(self.process.pid):
            if b"raylet_socket_name" in Path(f"/proc/{process}/cmdline").read_bytes():
                return process
        raise AssertionError("the node has no raylet")

    def end(self) -> None:
        """Stop the node, and check that all its processes have ended."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        assert self.process.stdout
        self.process.stdout.close()
        try:
            assert is_gone(self.process.pid)
        finally:
            for process in living(self.process.pid):
                os.kill(process, signal.SIGKILL)


def start(*options: str, within: str | None = None) -> Node:
    """`ray start OPTIONS` in the network namespace `within`; returns when the node is up."""
    program = [str(Path(sys.executable).with_name("ray")), "start", "--block", "--disable-usage-stats"]
    process = subprocess.Popen(
        [*inside(within), *program, "--object-store-memory", "80000000", *options],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout
    said = []
    address = next((option for option in options if re.fullmatch(r"[\d.]+:\d+", option)), "")
    for line in process.stdout:
        said.append(line)
        if found := re.search(r"ray start --address='(.+?)'", line):
            address = found[1]
        if "block forever" in line:
            return Node(process, address)
    raise AssertionError(f"ray start {' '.join(options)} failed:\n{''.join(said)}")


@contextlib.contextmanager
def environment(node: Node) -> Iterator[None]:
    """Set what this process and its children need to find the cluster, and remove all other settings of Ray."""
    with pytest.MonkeyPatch.context() as patch:
        for name in set(os.environ) - set(ENVIRONMENT):
            patch.delenv(name)
        for name, value in (ENVIRONMENT | {"RAY_ADDRESS": node.address}).items():
            patch.setenv(name, value)
        yield


def inside(namespace: str | None) -> list[str]:
    """The words before a command that let it run in a network namespace."""
    return ["ip", "netns", "exec", namespace] if namespace else []


@contextlib.contextmanager
def head(host: str, cpus: int, within: str | None = None) -> Iterator[Node]:
    """A cluster of one node. Its files lie in a folder with a short name, because sockets are among them."""
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    options = ("--head", "--node-ip-address", host, "--port", "0", "--temp-dir", folder)
    node = start(*options, "--include-dashboard=false", "--num-cpus", str(cpus), within=within)
    try:
        yield node
    finally:
        node.end()
        shutil.rmtree(folder)


@contextlib.contextmanager
def joined(cluster: Node, host: str, cpus: int, within: str | None = None) -> Iterator[Node]:
    """Another node of the cluster."""
    options = ("--address", cluster.address, "--node-ip-address", host, "--num-cpus", str(cpus))
    node = start(*options, within=within)
    try:
        yield node
    finally:
        node.end()


class Cable:
    """Two network namespaces, `left` at 10.77.7.1 and `right` at 10.77.7.2, and the link between them."""

    def __init__(self) -> None:
        self.left, self.right = f"corpus-l{os.getpid()}", f"corpus-r{os.getpid()}"

    def pull(self) -> None:
        _ip("-n", self.right, "link", "set", "cable", "down")

    def plug(self) -> None:
        _ip("-n", self.right, "link", "set", "cable", "up")


@contextlib.contextmanager
def cable() -> Iterator[Cable]:
    """Make the namespaces, or skip the test if that is not allowed here."""
    made = Cable()
    try:
        try:
            _ip("netns", "add", made.left)
            _ip("netns", "add", made.right)
            _ip(
                "link", "add", "cable", "netns", made.left, "type", "veth", "peer", "name", "cable", "netns", made.right
            )
        except (FileNotFoundError, subprocess.CalledProcessError) as error:
            why = getattr(error, "stderr", None) or str(error)
            pytest.skip(f"this machine does not let us make network namespaces: {why.strip()}")
        for namespace, host in ((made.left, "10.77.7.1"), (made.right, "10.77.7.2")):
            _ip("-n", namespace, "addr", "add", f"{host}/24", "dev", "cable")
            _ip("-n", namespace, "link", "set", "lo", "up")
            _ip("-n", namespace, "link", "set", "cable", "up")
        yield made
    finally:
        for namespace in (made.left, made.right):
            with contextlib.suppress(FileNotFoundError, subprocess.CalledProcessError):
                _ip("netns", "del", namespace)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
