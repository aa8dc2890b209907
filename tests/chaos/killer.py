"""Whom to strike, when and how: chosen by a seed, so that a run can be had again."""

import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cluster import SERVERS, Cluster

# A consumer that is stopped for longer than its session (6 s) is taken for dead; a process that sleeps for longer than the
# catalog's lease (5 s) wakes with what it believed before.
STOPPED_SECONDS = (1.0, 12.0)
DOWN_SECONDS = (0.0, 2.0)
QUIET_SECONDS = (0.2, 2.0)
STOPS_SHARE = 0.3
# How often another one is killed at the same moment.
PAIRS_SHARE = 0.25
# From a restart until every kind of call is acknowledged again.
RECOVERY_SECONDS_MAX = 60


@dataclass(frozen=True)
class Strike:
    """One kill, or one sleep."""

    victim: str
    how: str
    seconds: float
    quiet_before: float
    # Killed at the same moment.
    also: str | None = None

    def __str__(self) -> str:
        also = f" and kill {self.also}" if self.also else ""
        return f"{self.how} {self.victim} for {self.seconds} s{also}"


def strikes(names: list[str], count: int, seed: int) -> Iterator[Strike]:
    """The run's strikes: everybody once before anybody is struck again."""
    chance = random.Random(seed)
    bag: list[str] = []
    for _ in range(count):
        if not bag:
            bag = sorted(names)
            chance.shuffle(bag)
        how = "stop" if chance.random() < STOPS_SHARE else "kill"
        seconds = chance.uniform(*(STOPPED_SECONDS if how == "stop" else DOWN_SECONDS))
        victim, quiet = bag.pop(), round(chance.uniform(*QUIET_SECONDS), 1)
        another = chance.choice(sorted(set(names) - {victim}))
        yield Strike(victim, how, round(seconds, 1), quiet, another if chance.random() < PAIRS_SHARE else None)


class Stuck(Exception):
    """The service did not recover by itself."""


class Killer:
    """Strikes, brings back, and waits until the clients get on."""

    def __init__(self, cluster: Cluster, progress: Callable[[], dict[str, int]], must_go_on: Callable[[], None]) -> None:
        self.cluster = cluster
        self.progress = progress
        self.must_go_on = must_go_on
        self.struck: Counter[str] = Counter()
        self.recovery_seconds: list[tuple[float, str]] = []

    def strike(self, strike: Strike) -> None:
        """One strike, from the quiet before it to the recovery."""
        self.wait(strike.quiet_before)
        if strike.how == "kill":
            self.cluster.kill(strike.victim)
        else:
            self.cluster.signal(strike.victim, signal.SIGSTOP)
        try:
            self.count(strike.victim, strike.how)
            if strike.also is not None:
                self.cluster.kill(strike.also)
                self.count(strike.also, "kill")
            self.wait(strike.seconds)
        finally:
            if strike.how == "stop":
                self.cluster.signal(strike.victim, signal.SIGCONT)
        self.bring_back([name for name in (strike.victim, strike.also) if name and name != self.stopped(strike)])
        seconds = self.await_progress(str(strike), RECOVERY_SECONDS_MAX)
        self.recovery_seconds.append((seconds, str(strike)))

    @staticmethod
    def stopped(strike: Strike) -> str | None:
        """Who only slept."""
        return strike.victim if strike.how == "stop" else None

    def bring_back(self, killed: list[str]) -> None:
        """Starts again what was killed, servers first, as whoever supervises processes would."""
        for name in sorted(killed, key=lambda name: name not in SERVERS):
            self.cluster.restart(name)

    def count(self, name: str, how: str) -> None:
        """Counts a strike by its role."""
        role = name if name in SERVERS else name.rpartition("-")[0]
        self.struck[f"{role} {how}"] += 1

    def wait(self, seconds: float) -> None:
        """Lets the clients work, and ends early where a check has failed."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.must_go_on()
            time.sleep(min(0.1, max(0.0, deadline - time.monotonic())))

    def await_progress(self, after: str, seconds_max: float) -> float:
        """Waits until every client has had a call acknowledged since; how long that took."""
        began = time.monotonic()
        before = self.progress()
        while True:
            self.must_go_on()
            now = self.progress()
            waiting = [name for name, count in now.items() if count <= before[name]]
            if not waiting:
                return time.monotonic() - began
            if time.monotonic() - began > seconds_max:
                raise Stuck(f"{seconds_max} s after {after} no call was acknowledged to {waiting}")
            time.sleep(0.05)
