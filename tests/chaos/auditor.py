"""The auditor: looks into index and metrics while the clients work, and at the end holds everything against what they were told."""

import threading
import time
from collections import Counter, defaultdict

import grpc
import urllib3
from cluster import Cluster
from history import History
from stored import ERASED, Blobs, Points, StoredRecord

INTERVAL_SECONDS = 1.0
# A look takes longer the more the index has: it takes at most this share of the time.
LOOKING_SHARE = 0.1
# Until everything that was acknowledged must be found, and audited, once nothing dies any more.
SETTLED_SECONDS_MAX = 60
# A job of the bulk lane has a few.
MOST_PHOTOS_OF_A_CALL = 4
VIOLATIONS = "vidimus_invariant_violations_total"
FACES_MAX = 4096


def violations_counted(page: str) -> dict[str, float]:
    """By invariant, what a process has counted of it."""
    lines = (line for line in page.splitlines() if line.startswith(VIOLATIONS))
    return {line.split("{")[-1].split("}")[0]: float(line.split()[-1]) for line in lines if float(line.split()[-1]) > 0}


def check_slots(history: History, tenant: str, listed: dict[str, str], matched: set[str]) -> None:
    """I2, I3 and I4 of everything a tenant has: what it lists, and what a search for everything finds."""
    by_name = defaultdict(list)
    for face, name in listed.items():
        by_name[name].append(face)
    for slot in history.slots[tenant]:
        faces = by_name.pop(slot.name, [])
        wanted = [slot.live] if slot.live else []
        history.check("I4", len(faces) <= 1, f"{slot.name} is there more than once: {faces}")
        history.check("I2", slot.live is None or slot.live in faces, f"{slot.name}: {slot.live} is not listed: {faces}")
        history.check("I2", slot.live is None or slot.live in matched, f"{slot.name}: {slot.live} is not found")
        history.check("I3", set(faces) <= set(wanted), f"{slot.name}: acknowledged {wanted}, listed {faces}")
        back = slot.deleted & (set(listed) | matched)
        history.check("I3", not back, f"{slot.name}: {back} are back")
    history.check("I4", not by_name, f"{tenant} has what nobody enrolled: {dict(by_name)}")
    history.check("I4", matched == set(listed), f"{tenant}: listed and found differ: {matched ^ set(listed)}")


def check_audited(history: History, audited: set[str]) -> None:
    """I8: every answer has its audit record."""
    lacking = history.answered_searches - audited
    text = f"{len(lacking)} of {len(history.answered_searches)} answers are not audited: {sorted(lacking)[:3]}"
    history.check("I8", not lacking, text)


def check_stored(history: History, records: list[StoredRecord], photos: set[str]) -> None:
    """I4 and I9 of the records: one for each name, no template of an erased face, no photo of an erased record."""
    live = Counter((record.part, record.name) for record in records if record.live)
    twice = [name for name, count in live.items() if count > 1]
    history.check("I4", not twice, f"more than one record: {twice}")
    for record in records:
        history.check("I9", not record.erased_with_template, f"templates left: {record.erased_with_template}")
        left = photos & set(record.photos_to_remove)
        history.check("I9", not left, f"{record.key}: photos left: {left}")
        if record.state == ERASED or not record.live:
            history.check("I9", record.photo is None, f"{record.key}: erased, and names {record.photo}")
        elif record.photo is not None:
            history.check("I2", record.photo in photos, f"{record.key}: its photo is gone: {record.photo}")


def unnamed_photos(records: list[StoredRecord], photos: set[str]) -> set[str]:
    """Photos that no record names: of attempts that died. Reconciling removes them when they are a day old."""
    return photos - {record.photo for record in records}


class Watch(threading.Thread):
    """Looks again and again while the clients work: I5 in the index, and every process's own count."""

    def __init__(self, cluster: Cluster, history: History) -> None:
        super().__init__(daemon=True)
        self.cluster = cluster
        self.history = history
        self.points = Points(cluster.backing, cluster.settings["VIDIMUS__QDRANT__COLLECTION_PREFIX"])
        self.versions: dict[str, int] = {}
        self.rss_mib: dict[str, float] = {}
        self.ending = threading.Event()
        self.failure: BaseException | None = None

    def run(self) -> None:
        """Looks until told to end."""
        pause = INTERVAL_SECONDS
        while not self.ending.wait(pause):
            began = time.monotonic()
            try:
                self.look_at_points()
                self.look_at_processes()
            except BaseException as error:
                self.failure = error
                return
            pause = max(INTERVAL_SECONDS, (time.monotonic() - began) / LOOKING_SHARE)

    def look_at_points(self) -> None:
        """I5, where the index answers.

        A server that is killed while it flushes may come back with points as they were before: what it was told last it is told
        again, and no search is answered until then. So a look that begins after such an answer sees none of them.
        """
        may_lag = self.history.last_search_asked <= self.cluster.index_killed_at
        try:
            now = self.points.versions()
        except grpc.RpcError:
            return
        self.versions = self.history.saw_versions(self.versions, now, may_lag)

    def look_at_processes(self) -> None:
        """What those count that answer."""
        for member in self.cluster.processes.members:
            try:
                page = self.cluster.metrics(member.name, timeout=1.0)
                rss = self.cluster.rss_mib(member.name)
            except (urllib3.exceptions.HTTPError, OSError, KeyError):
                continue
            broken = violations_counted(page)
            self.history.check("metrics", not broken, f"{member.name} counts {broken}")
            self.rss_mib[member.name] = max(rss, self.rss_mib.get(member.name, 0.0))


class FinalAudit:
    """What must hold once nothing dies any more and every client has had its answer."""

    def __init__(self, cluster: Cluster, history: History) -> None:
        self.cluster = cluster
        self.history = history
        self.blobs = Blobs(cluster.backing, cluster.name)
        self.unnamed: set[str] = set()
        self.records = 0

    def run(self, clients: dict[str, object], photos: dict[str, list[bytes]]) -> None:
        """Everything; waits for what may take a moment, and for no longer than that."""
        for tenant, client in clients.items():
            self.await_settled(tenant, client, photos[tenant])
        self.cluster.admin("reconcile", "--full")
        for tenant, client in clients.items():
            check_slots(self.history, tenant, listed(client), matched(client, photos[tenant]))
            count = client.describe_collection(CollectionId="staff")["FaceCount"]
            known = sum(1 for slot in self.history.slots[tenant] if slot.live)
            self.history.check("I4", count == known, f"{tenant} has {count} faces, not {known}")
        self.look_at_blobs()
        for member in self.cluster.processes.members:
            broken = violations_counted(self.cluster.metrics(member.name))
            self.history.check("metrics", not broken, f"{member.name} counts {broken}")

    def await_settled(self, tenant: str, client, photos: list[bytes]) -> None:
        """The log's consumer may have to project a little."""
        wanted = {slot.live for slot in self.history.slots[tenant] if slot.live}
        deadline = time.monotonic() + SETTLED_SECONDS_MAX
        while not wanted <= matched(client, photos) and time.monotonic() < deadline:
            time.sleep(0.2)

    def look_at_blobs(self, patience_seconds: float = SETTLED_SECONDS_MAX) -> None:
        """I8 and I9, in S3."""
        deadline = time.monotonic() + patience_seconds
        audited = self.blobs.audited()
        while not self.history.answered_searches <= audited and time.monotonic() < deadline:
            time.sleep(1.0)
            audited = self.blobs.audited()
        check_audited(self.history, audited)
        records, photos = self.blobs.records(), self.blobs.photos()
        check_stored(self.history, records, photos)
        self.records, self.unnamed = len(records), unnamed_photos(records, photos)
        calls = self.history.calls.items()
        enrolments = [(outcome, count) for (called, outcome), count in calls if called in ("IndexFaces", "BulkIndex")]
        lost = sum(count for outcome, count in enrolments if outcome != "acknowledged")
        text = f"{len(self.unnamed)} photos that no record names, after {lost} calls without an answer"
        self.history.check("I9", len(self.unnamed) <= lost * MOST_PHOTOS_OF_A_CALL, text)


def listed(client) -> dict[str, str]:
    """Every face of a tenant with its name."""
    pages = client.get_paginator("list_faces").paginate(CollectionId="staff", PaginationConfig={"PageSize": 7})
    return {face["FaceId"]: face.get("ExternalImageId", "") for page in pages for face in page["Faces"]}


def matched(client, photos: list[bytes]) -> set[str]:
    """Every face that any of the photos finds."""
    found = set()
    for photo in photos:
        answer = client.search_faces_by_image(CollectionId="staff", Image={"Bytes": photo}, MaxFaces=FACES_MAX)
        found |= {match["Face"]["FaceId"] for match in answer["FaceMatches"]}
    return found

