"""Random faults for a long time: `python -m tests.faults.soak --minutes 30`.

Runs the six WARC files of real pages again and again with two workers. About every ten seconds it kills, stops or
crashes a worker, or kills, terminates or interrupts the driver, whose work the same command then continues. Every third
round starts from the finished output of the round before, with a third of its commit records removed. At the end of
every round the bytes must be those of an undisturbed run, all accounts must add up, and no process and no unfinished
file may be left. Prints a table of the rounds. The exit code is 1 if anything was wrong.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.driver import Task, is_gone, living, real_pages, undisturbed, workers_of
from tests.support.command import command
from tests.support.paths import TESTDATA

FAULTS = {  # name -> the process and the signal that it gets
    "worker killed": signal.SIGKILL,
    "worker stopped": signal.SIGSTOP,
    "worker crashed": signal.SIGSEGV,
    "driver killed": signal.SIGKILL,
    "driver terminated": signal.SIGTERM,
    "driver interrupted": signal.SIGINT,
}
KILLED = (-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT)
LOOK = 0.2  # seconds between looks at memory and clock


@dataclass
class Round:
    """What happened until one output was finished."""

    number: int
    resumed: bool
    began: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    runs: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    driver_mib: int = 0  # largest resident memory
    worker_mib: int = 0
    retries: int = 0  # retries of units that the driver reported
    deviations: list[str] = field(default_factory=list)

    def look(self, driver: int) -> None:
        """Note how much memory the processes use."""
        self.driver_mib = max(self.driver_mib, resident(driver))
        self.worker_mib = max([self.worker_mib, *map(resident, workers_of(driver))])


def resident(process: int) -> int:
    """Resident memory of a process in MiB; 0 if it has ended."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20
    except (OSError, IndexError):
        return 0


def disturb(driver: int, chance: random.Random) -> str:
    """Do something to a running driver or one of its workers; returns what, or "" if it had ended already."""
    kind = chance.choice(list(FAULTS))
    victims = [driver] if kind.startswith("driver") else workers_of(driver)
    if not victims:
        return ""
    try:
        os.kill(chance.choice(victims), FAULTS[kind])
    except ProcessLookupError:
        return ""
    return kind


def run_once(task: Task, output: Path, found: Round, every: float, chance: random.Random) -> int:
    """Run the command once and disturb it; returns its exit code."""
    found.runs += 1
    with tempfile.TemporaryFile("w+") as said:
        driver = task.start(output, stderr=said)
        due = time.monotonic() + chance.uniform(0.1, 1.9) * every
        while driver.poll() is None:
            time.sleep(LOOK)
            found.look(driver.pid)
            if time.monotonic() > due:
                due += chance.uniform(0.1, 1.9) * every
                if kind := disturb(driver.pid, chance):
                    found.faults[kind] += 1
        if not is_gone(driver.pid):
            found.deviations.append(f"orphans: {list(living(driver.pid))}")
        said.seek(0)
        errors = said.read()
    found.retries += errors.count(": retry: ")
    # A signal that comes while the interpreter starts or ends kills it, because no handler is set.
    if "Traceback" in errors or ": quarantine: " in errors or driver.returncode not in (0, 130, *KILLED):
        found.deviations.append(f"exit {driver.returncode}: {errors}")
    return driver.returncode


def go_round(task: Task, output: Path, found: Round, every: float, chance: random.Random) -> None:
    """Run the command until it is done, and check what it wrote."""
    while run_once(task, output, found, every, chance) and len(found.deviations) < 3:
        pass
    found.deviations += task.differences(output)
    found.seconds = time.monotonic() - found.began


def forget_a_third(output: Path, chance: random.Random) -> None:
    """Remove some commit records, as if their units had never been finished."""
    for record in sorted(output.glob("*/_units/*.json")):
        if chance.random() < 1 / 3:
            record.unlink()


def table(rounds: list[Round]) -> str:
    lines = [f"{'round':>5} {'s':>6} {'runs':>4} {'faults':>6} {'retries':>7} {'driver MiB':>10} {'worker MiB':>10}"]
    lines += [
        f"{r.number:5} {r.seconds:6.0f} {r.runs:4} {r.faults.total():6} {r.retries:7} "
        f"{r.driver_mib:10} {r.worker_mib:10}{' resumed' if r.resumed else ''}{' DEVIATES' if r.deviations else ''}"
        for r in rounds
    ]
    faults = sum((r.faults for r in rounds), Counter[str]())
    lines += [f"{count:5} x {kind}" for kind, count in sorted(faults.items())]
    lines += [f"round {r.number}: {deviation}" for r in rounds for deviation in r.deviations]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--every", type=float, default=10, help="seconds between faults, on average")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sample", action="store_true", help="a small crawl made here instead of the real pages")
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    deadline = time.monotonic() + arguments.minutes * 60
    rounds: list[Round] = []
    with tempfile.TemporaryDirectory() as folder:
        line = real_pages(TESTDATA.resolve())
        if arguments.sample:
            command("corpus", "sample", "--pages", "600", "--shards", "6", "-o", f"{folder}/crawl")
            line = ("recipes/demo.toml", "--input", f"{folder}/crawl")
        task = undisturbed(line, Path(folder, "undisturbed"))
        print(f"undisturbed: {task.seconds:.0f} s, {len(task.hashes)} files", flush=True)
        output = Path(folder, "out")
        while time.monotonic() < deadline:
            found = Round(len(rounds) + 1, resumed=len(rounds) % 3 == 2)
            if found.resumed:
                forget_a_third(output, chance)
            else:
                shutil.rmtree(output, ignore_errors=True)
            go_round(task, output, found, arguments.every, chance)
            rounds.append(found)
            print(table([found]).splitlines()[1], flush=True)
    print(table(rounds))
    sys.exit(any(found.deviations for found in rounds))


if __name__ == "__main__":
    main()
