"""What clients asked and what they were told, and the checks that each answer must pass. Threads share it."""

import threading
import time
from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Violation:
    """A broken invariant."""

    id: str
    what: str


@dataclass(frozen=True)
class Match:
    """A candidate as a client sees it."""

    face: str
    name: str
    similarity: float


@dataclass
class Slot:
    """A name for a photo of one face, and what is known of its faces."""

    name: str
    # The face that was acknowledged last.
    live: str | None = None
    # What was asked for last and not answered, or answered with an error: it may have been carried out.
    pending: str | None = None
    # Tells the service that a request asked again is the same one, as an SDK's own retries do.
    request: str = ""
    # How often its photo was asked to be enrolled, and that was answered.
    enrolments: int = 0
    deleted: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Asked:
    """A search, how many had been deleted before it was asked, and when that was."""

    tenant: str
    faces_max: int
    threshold: float
    deleted: int
    at: float


class History:
    """Everything that an auditor must know of the clients."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.violations: list[Violation] = []
        self.calls: Counter[tuple[str, str]] = Counter()
        self.checks: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()
        # By operation, the most seconds that a call took, however it ended.
        self.longest: dict[str, float] = {}
        # Faces and users whose deletion was acknowledged, by the order of that; their names are not used again.
        self.deleted: dict[str, int] = {}
        self.answered_searches: set[str] = set()
        # When the one was asked that was asked last of those that were answered.
        self.last_search_asked = 0.0
        self.slots: dict[str, list[Slot]] = {}
        # How often points were seen as they had been before, after the index was killed and before it was told its tail again.
        self.lags = 0

    def violated(self, id: str, what: str) -> None:
        """Notes a broken invariant."""
        with self.lock:
            self.violations.append(Violation(id, what))

    def check(self, id: str, holds: bool, what: str) -> None:
        """Notes a check, and what is broken where it does not hold."""
        with self.lock:
            self.checks[id] += 1
            if not holds:
                self.violations.append(Violation(id, what))

    def called(self, operation: str, outcome: str, reason: str = "") -> None:
        """Counts a call: `acknowledged`, `refused` or `unknown`."""
        with self.lock:
            self.calls[operation, outcome] += 1
            if reason:
                self.refusals[reason] += 1

    def took(self, operation: str, seconds: float) -> None:
        """Notes how long a call took."""
        with self.lock:
            self.longest[operation] = max(seconds, self.longest.get(operation, 0.0))

    def acknowledged(self) -> int:
        """How many calls were acknowledged so far."""
        with self.lock:
            return sum(count for (_, outcome), count in self.calls.items() if outcome == "acknowledged")

    def is_deleted(self, name: str) -> None:
        """A face's or a user's deletion was acknowledged: from now on it matches nothing."""
        with self.lock:
            self.deleted.setdefault(name, len(self.deleted))

    def was_deleted(self, name: str, asked: Asked) -> bool:
        """Whether its deletion had been acknowledged before the search was asked."""
        return self.deleted.get(name, asked.deleted) < asked.deleted

    def asks(self, tenant: str, faces_max: int, threshold: float) -> Asked:
        """A search is about to be asked."""
        with self.lock:
            return Asked(tenant, faces_max, threshold, len(self.deleted), time.monotonic())

    def answered(self, asked: Asked, request_id: str, matches: list[Match]) -> None:
        """A search was answered: I1, I3 and I6 by the answer alone, I8 once the audit log is written."""
        with self.lock:
            self.answered_searches.add(request_id)
            self.last_search_asked = max(self.last_search_asked, asked.at)
        strangers = [match for match in matches if not match.name.startswith(f"{asked.tenant}-")]
        self.check("I1", not strangers, f"{asked.tenant} was shown {strangers}")
        back = [match.face for match in matches if self.was_deleted(match.face, asked)]
        self.check("I3", not back, f"{back} match after their deletion")
        scores = [match.similarity for match in matches]
        is_sorted = scores == sorted(scores, reverse=True)
        holds = is_sorted and len(scores) <= asked.faces_max and all(score >= asked.threshold for score in scores)
        self.check("I6", holds, f"at most {asked.faces_max} from {asked.threshold} on, by score: {scores}")

    def saw_versions(self, before: dict[str, int], now: dict[str, int], may_lag: bool = False) -> dict[str, int]:
        """The index was read: no point is older than it was, unless it `may_lag`; then it is to catch up. The highest versions seen."""
        back = {face: (before[face], version) for face, version in now.items() if version < before.get(face, 0)}
        if back and may_lag:
            self.lags += 1
        else:
            self.check("I5", not back, f"versions went back: {back}")
        return {**before, **{face: max(version, before.get(face, 0)) for face, version in now.items()}}
