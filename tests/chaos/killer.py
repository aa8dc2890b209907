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
# From a restart until every kind of call is acknowledged again.
RECOVERY_SECONDS_MAX = 60


@dataclass(frozen=True)
class Strike:
    """One kill, or one sleep."""

    victim: str
    how: str
    seconds: float
    quiet_before: float


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
        yield Strike(bag.pop(), how, round(seconds, 1), round(chance.uniform(*QUIET_SECONDS), 1))


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
            self.wait(strike.seconds)
            self.cluster.restart(strike.victim)
        else:
            self.cluster.signal(strike.victim, signal.SIGSTOP)
            try:
                self.wait(strike.seconds)
            finally:
                self.cluster.signal(strike.victim, signal.SIGCONT)
        role = strike.victim if strike.victim in SERVERS else strike.victim.rpartition("-")[0]
        self.struck[f"{role} {strike.how}"] += 1
        seconds = self.await_progress(f"{strike.how} {strike.victim}", RECOVERY_SECONDS_MAX)
        self.recovery_seconds.append((seconds, f"{strike.how} {strike.victim}"))

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
