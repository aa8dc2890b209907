"""Whom to strike, when and how: chosen by a seed, so that a run can be had again."""

import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from cluster import READY_SECONDS_MAX, SERVERS, Cluster

# A consumer that is stopped for longer than its session (6 s) is taken for dead; a process that sleeps for longer than the
# catalog's lease (5 s) wakes with what it believed before.
LONG_STOPS_SECONDS = (6.5, 12.0)
STOPS_SECONDS = (0.5, 4.0)
LONG_STOPS_SHARE = 0.25
DOWN_SECONDS = (0.0, 2.0)
STOPS_SHARE = 0.3
# Of one round: how many are struck, and how far apart.
STRIKES_OF_A_ROUND = (1, 8)
AFTER_SECONDS = (0.0, 2.0)
# How many are struck at the very moment when the round begins.
AT_ONCE_SHARE = 0.3
QUIET_SECONDS = (0.2, 1.5)
# From a restart until every kind of call is acknowledged again, on a machine that has other work to do as well.
RECOVERY_SECONDS_MAX = 180


@dataclass(frozen=True)
class Strike:
    """One kill, or one sleep."""

    victim: str
    how: str
    # From the round's beginning.
    after: float
    # How long it is down, or asleep.
    seconds: float

    def __str__(self) -> str:
        return f"{self.how} {self.victim} at {self.after} s for {self.seconds} s"


@dataclass(frozen=True)
class Round:
    """Strikes that overlap."""

    quiet_before: float
    strikes: tuple[Strike, ...]

    def __str__(self) -> str:
        return ", ".join(map(str, self.strikes))


def rounds(names: list[str], count: int, seed: int) -> Iterator[Round]:
    """The run's rounds, of so many strikes in all: everybody once before anybody is struck again."""
    chance = random.Random(seed)
    bag: list[str] = []
    while count > 0:
        victims: list[str] = []
        for _ in range(min(count, len(names), chance.randint(*STRIKES_OF_A_ROUND))):
            if set(bag) <= set(victims):
                bag = chance.sample(sorted(names), len(names)) + bag
            victims.append(bag.pop(max(place for place, name in enumerate(bag) if name not in victims)))
        count -= len(victims)
        quiet = round(chance.uniform(*QUIET_SECONDS), 1)
        yield Round(quiet, tuple(one_strike(chance, victim) for victim in victims))


def one_strike(chance: random.Random, victim: str) -> Strike:
    """A strike at somebody."""
    how = "stop" if chance.random() < STOPS_SHARE else "kill"
    is_long = chance.random() < LONG_STOPS_SHARE
    seconds = chance.uniform(*(DOWN_SECONDS if how == "kill" else LONG_STOPS_SECONDS if is_long else STOPS_SECONDS))
    after = 0.0 if chance.random() < AT_ONCE_SHARE else chance.uniform(*AFTER_SECONDS)
    return Strike(victim, how, round(after, 1), round(seconds, 1))


def role_of(victim: str) -> str:
    """What is struck: a role, or a server."""
    return victim if victim in SERVERS else victim.rpartition("-")[0]


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
        # Who was the last to get on after the latest round.
        self.last: list[str] = []
        # Servers are started one after the other.
        self.starting = threading.Lock()
        # Processes that were started and have not been seen ready yet, and since when.
        self.started: dict[str, float] = {}
        # Held while a process is killed or started, and while it is decided that it must be.
        self.supervising = threading.Lock()

    def strike(self, round: Round) -> None:
        """One round, from the quiet before it to the recovery."""
        self.wait(round.quiet_before)
        self.struck.update(f"{role_of(strike.victim)} {strike.how}" for strike in round.strikes)
        with ThreadPoolExecutor(len(round.strikes)) as pool:
            servers = [pool.submit(self.carry_out, one, []) for one in round.strikes if one.victim in SERVERS]
            others = [pool.submit(self.carry_out, one, servers) for one in round.strikes if one.victim not in SERVERS]
            for carried_out in [*servers, *others]:
                carried_out.result()
        seconds = self.await_progress(str(round), RECOVERY_SECONDS_MAX)
        self.recovery_seconds.append((seconds, str(round)))
        self.look_who_is_ready()

    def carry_out(self, strike: Strike, servers: list[Future]) -> None:
        """One strike, until its victim is back; as whoever supervises processes would, it starts one when the `servers` are there."""
        self.wait(strike.after)
        if strike.how == "stop":
            self.cluster.signal(strike.victim, signal.SIGSTOP)
            try:
                self.wait(strike.seconds)
            finally:
                self.cluster.signal(strike.victim, signal.SIGCONT)
            return
        # Else it might be started again, for it had ended by itself, between the two.
        with self.supervising:
            self.started.pop(strike.victim, None)
            self.cluster.kill(strike.victim)
        self.wait(strike.seconds)
        if strike.victim in SERVERS:
            with self.starting:
                self.cluster.restart(strike.victim)
            return
        for server in servers:
            server.result()
        # It may be struck again before it is ready.
        with self.supervising:
            self.started[strike.victim] = time.monotonic()
            self.cluster.start_process(strike.victim, wait=False)

    def go_on(self) -> None:
        """Ends the run where something is broken, and starts again what ended since a server that it needs at its start was away."""
        with self.supervising:
            for name in list(self.started):
                if self.cluster.has_ended(name):
                    self.cluster.start_process(name, wait=False)
        self.must_go_on()

    def look_who_is_ready(self) -> None:
        """Whoever is started becomes ready in time, where it is left alone."""
        for name, since in list(self.started.items()):
            if self.cluster.is_ready(name):
                del self.started[name]
            elif time.monotonic() - since > READY_SECONDS_MAX:
                raise Stuck(f"{name} is not ready {READY_SECONDS_MAX} s after it was started")

    def await_ready(self) -> None:
        """Waits until all that was started is ready."""
        while self.started:
            self.wait(0.2)
            self.look_who_is_ready()

    def wait(self, seconds: float) -> None:
        """Lets the clients work, and ends early where a check has failed."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.go_on()
            time.sleep(min(0.1, max(0.0, deadline - time.monotonic())))

    def await_progress(self, after: str, seconds_max: float) -> float:
        """Waits until every client has had a call acknowledged since; how long that took."""
        began = time.monotonic()
        before = self.progress()
        while True:
            self.go_on()
            now = self.progress()
            waiting = [name for name, count in now.items() if count <= before[name]]
            if not waiting:
                return time.monotonic() - began
            self.last = waiting
            if time.monotonic() - began > seconds_max:
                raise Stuck(f"{seconds_max} s after {after} no call was acknowledged to {waiting}")
            time.sleep(0.05)
