"""Races between processes that take turns: whatever else the machine does slows all of them alike.

Each contestant is a process of its own that is told "do n steps now", and stopped (SIGSTOP) while others have their
turn, so that no idle thread pool spins. What counts are ratios of neighbouring turns: their median, least and largest.
"""

import dataclasses
import json
import os
import signal
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

CONTESTANTS = Path(__file__).parent / "contestants"
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "OMP_WAIT_POLICY": "PASSIVE", "PYTHONWARNINGS": "ignore"}


@dataclasses.dataclass(frozen=True)
class Contestant:
    """A script of contestants/, its arguments, the Python that runs it, and the steps of one turn."""

    script: str
    arguments: Sequence[str] = ()
    steps: int = 1
    python: str = sys.executable


@dataclasses.dataclass(frozen=True)
class Times:
    """Seconds per step of each turn, and the same of processor time, which a busy machine disturbs less."""

    seconds: list[float]
    cpu_seconds: list[float]

    @property
    def typical(self) -> float:
        """Median seconds per step."""
        return statistics.median(self.seconds)

    @property
    def typical_cpu(self) -> float:
        """Median seconds of processor time per step."""
        return statistics.median(self.cpu_seconds)


@dataclasses.dataclass(frozen=True)
class Ratio:
    """How many times as fast one contestant is as another, from turns next to each other."""

    median: float
    least: float
    largest: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.least:.2f} to {self.largest:.2f})"


def race(contestants: Mapping[str, Contestant], rounds: int) -> dict[str, Times]:
    """Let all contestants take a turn in each round."""
    children = {}
    try:
        for name, contestant in contestants.items():
            print(f"  starting {name}", flush=True)
            children[name] = _Child(contestant)
        turns: dict[str, list[dict]] = {name: [] for name in contestants}
        for number in range(rounds):
            for name, child in children.items():
                turns[name].append(child.turn())
            print(f"  round {number + 1} of {rounds}", flush=True)
    finally:
        for child in children.values():
            child.end()
    steps = {name: contestant.steps for name, contestant in contestants.items()}
    return {
        name: Times(*([turn[key] / steps[name] for turn in taken] for key in ("seconds", "cpu_seconds")))
        for name, taken in turns.items()
    }


def ratio(ours: Times, other: Times, cpu: bool = False) -> Ratio:
    """Speed of `ours` / speed of `other`; of processor time if asked for."""
    pairs = (
        zip(ours.cpu_seconds, other.cpu_seconds, strict=True) if cpu else zip(ours.seconds, other.seconds, strict=True)
    )
    return spread([theirs / own for own, theirs in pairs])


def spread(ratios: Sequence[float]) -> Ratio:
    """Median, least and largest."""
    return Ratio(statistics.median(ratios), min(ratios), max(ratios))


def call(script: str, *arguments: str, python: str = sys.executable, timeout: float = 1800.0) -> dict:
    """What a script of contestants/ prints as the last line, JSON."""
    finished = subprocess.run(
        [python, str(CONTESTANTS / script), *arguments],
        env={**os.environ, **QUIET},
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    if finished.returncode:
        raise RuntimeError(f"{script} {' '.join(arguments)} failed:\n{finished.stderr[-3000:]}")
    return json.loads(finished.stdout.strip().splitlines()[-1])


class _Child:
    def __init__(self, contestant: Contestant) -> None:
        self.contestant = contestant
        self.process = subprocess.Popen(
            [contestant.python, str(CONTESTANTS / contestant.script), *contestant.arguments],
            env={**os.environ, **QUIET},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._answer()
        self.process.send_signal(signal.SIGSTOP)

    def turn(self) -> dict:
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.write(f"{self.contestant.steps}\n")
        self.process.stdin.flush()
        answer = json.loads(self._answer())
        self.process.send_signal(signal.SIGSTOP)
        return answer

    def _answer(self) -> str:
        line = self.process.stdout.readline()
        if not line:
            arguments = " ".join(self.contestant.arguments)
            raise RuntimeError(f"{self.contestant.script} {arguments} ended without an answer: run it by itself.")
        return line

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
