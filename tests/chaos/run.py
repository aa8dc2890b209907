"""A run: clients of two tenants, strikes, and the auditor."""

import io
import os
import time
from collections import Counter
from pathlib import Path

from auditor import FinalAudit, Watch, check_kept
from clients import Client, Enroller, Owner, Snooper, Unknown
from cluster import NO_RECONCILING, Cluster
from groups import Bulker, Grouper, connector
from history import History
from killer import Killer, rounds
from PIL import Image

SIDE_PX = 240
TENANTS = ["first", "second"]
SETTLE_SECONDS_MAX = 120
END_SECONDS_MAX = 60
# While this file is there, nothing is asked and nobody is struck: a long run lets others measure something meanwhile.
REST_WHILE = os.environ.get("VIDIMUS_CHAOS_REST_WHILE", "")


def small(photo: bytes) -> bytes:
    """The photo, shrunk: this is about who knows what, not about pixels."""
    image = Image.open(io.BytesIO(photo)).convert("RGB")
    image.thumbnail((SIDE_PX, SIDE_PX))
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=90)
    return encoded.getvalue()


class Broken(Exception):
    """A check has failed, or a client."""


class Run:
    """Everything that a run has."""

    def __init__(self, folder: Path, photos: dict[str, bytes], seed: int, cluster: Cluster | None = None) -> None:
        self.seed = seed
        self.cluster = cluster or Cluster(folder)
        self.history = History()
        self.photos = [small(photos[name]) for name in ("obama", "biden", "astronaut")]
        self.keys = {}
        self.clients: list[Client] = []
        self.watch: Watch | None = None
        self.killer = Killer(self.cluster, self.progress, self.must_go_on)
        self.audit: FinalAudit | None = None
        self.began = time.monotonic()

    def start(self) -> None:
        """Starts the service, the tenants and their clients."""
        self.cluster.start()
        for number, tenant in enumerate(TENANTS):
            self.keys[tenant] = self.cluster.new_tenant(tenant)
            self.api(tenant).create_collection(CollectionId="staff")
            self.clients += self.clients_of(tenant, self.seed + 100 * number)
        self.watch = Watch(self.cluster, self.history)
        self.watch.start()
        self.work()

    def api(self, tenant: str):
        """A client of the AWS SDK that tries once."""
        return self.cluster.client(self.keys[tenant])

    def clients_of(self, tenant: str, seed: int) -> list[Client]:
        """One of each kind."""
        obama, biden, astronaut = self.photos
        bulker = Bulker(self.history, tenant, self.api(tenant), seed + 1, biden)
        bulker.connect = connector(self.cluster.address, self.keys[tenant])
        return [
            Enroller(self.history, tenant, self.api(tenant), seed, obama),
            bulker,
            Grouper(self.history, tenant, self.api(tenant), seed + 2, astronaut),
            Snooper(self.history, tenant, self.api(tenant), seed + 3, self.photos),
        ]

    def work(self) -> None:
        """Has the clients go to work."""
        for client in self.clients:
            client.start()

    def progress(self) -> dict[str, int]:
        """How far each client is."""
        return {f"{client.tenant} {type(client).__name__}": client.acknowledged for client in self.clients}

    def must_go_on(self) -> None:
        """Ends the run where something is broken."""
        failures = [client.failure for client in [*self.clients, self.watch] if client.failure]
        if failures:
            raise failures[0]
        if self.history.violations:
            raise Broken("\n".join(f"{found.id}: {found.what}" for found in self.history.violations))
        gone = self.cluster.ended_by_themselves(supervised=set(self.killer.started))
        if gone:
            raise Broken("\n".join(gone))

    def strike(self, kills: int) -> None:
        """Strikes so often."""
        struck = 0
        for round in rounds(self.cluster.names(), kills, self.seed):
            self.rest()
            self.killer.strike(round)
            struck += len(round.strikes)
            seconds, _ = self.killer.recovery_seconds[-1]
            said = f"{struck}/{kills} {round}: recovered after {seconds:.1f} s, {self.killer.last} last"
            done = self.history.acknowledged()
            print(f"{time.monotonic() - self.began:7.1f} s  {said}, {done} acknowledged", flush=True)

    def rest(self) -> None:
        """Leaves the machine to others for as long as they want."""
        if not REST_WHILE or not Path(REST_WHILE).exists():
            return
        for client in self.clients:
            client.resting.set()
        while Path(REST_WHILE).exists():
            self.killer.wait(0.5)
        for client in self.clients:
            client.resting.clear()

    def end(self) -> None:
        """Ends the processes in order while the clients work, starts them again, and holds everything against the history (I10)."""
        self.killer.await_ready()
        self.cluster.stop_all()
        self.pause()
        check_kept(self.history, FinalAudit(self.cluster, self.history).blobs.records())
        self.cluster.settings |= NO_RECONCILING
        self.cluster.start_all()
        self.settle()
        self.audit = FinalAudit(self.cluster, self.history)
        self.audit.run({tenant: self.api(tenant) for tenant in TENANTS}, dict.fromkeys(TENANTS, self.photos))
        self.watch.ending.set()
        self.watch.join()
        self.watch.look_at_points()
        self.must_go_on()
        if not self.watch.versions:
            raise Broken("no point was ever seen, so I5 was not looked at")

    def pause(self) -> None:
        """Has the clients end what they are at, and no more."""
        for client in self.clients:
            client.ending.set()
        for client in self.clients:
            client.join(END_SECONDS_MAX + (client.seconds_max if isinstance(client, Bulker) else 0))
            if client.is_alive():
                raise Broken(f"{client.tenant} {type(client).__name__} hangs")

    def settle(self) -> None:
        """Every client has what it asked last answered."""
        deadline = time.monotonic() + SETTLE_SECONDS_MAX
        for client in self.clients:
            client.ending.clear()
            while isinstance(client, Owner):
                try:
                    client.settle()
                    break
                except Unknown:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.2)

    def report(self) -> str:
        """What was done and what was checked."""
        calls: Counter[str] = Counter()
        for (_, outcome), count in self.history.calls.items():
            calls[outcome] += count
        slowest, after = max(self.killer.recovery_seconds, default=(0.0, "nothing"))
        lines = [
            f"seed {self.seed}: {sum(self.killer.struck.values())} strikes in {len(self.killer.recovery_seconds)} rounds, {time.monotonic() - self.began:.0f} s",
            "struck: " + ", ".join(f"{name} {count}" for name, count in sorted(self.killer.struck.items())),
            f"calls: {calls['acknowledged']} acknowledged, {calls['refused']} refused, {calls['unknown']} unknown",
            "by operation: " + ", ".join(
                f"{operation} {count}"
                for (operation, outcome), count in sorted(self.history.calls.items())
                if outcome == "acknowledged"
            ),
            "not answered: " + ", ".join(f"{reason} {count}" for reason, count in self.history.refusals.most_common()),
            "checks: " + ", ".join(f"{id} {count}" for id, count in sorted(self.history.checks.items())),
            f"points of a killed index as they had been before, until it was told again: seen {self.history.lags} times",
            f"slowest recovery: {slowest:.1f} s after {after}",
            "most memory: " + ", ".join(f"{name} {rss:.0f} MiB" for name, rss in sorted(self.watch.rss_mib.items())),
        ]
        if self.audit is not None:
            unnamed = len(self.audit.unnamed)
            lines.append(f"in S3: {self.audit.records} records, {unnamed} photos of attempts that died")
        return "\n".join(lines)

    def close(self) -> None:
        """Ends everything."""
        for thread in [*self.clients, self.watch]:
            if thread is not None:
                thread.ending.set()
        self.cluster.close()

