"""The auditor: looks into index and metrics while the clients work, and at the end holds everything against what they were told."""

import threading
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable

import grpc
import urllib3
from cluster import Cluster
from history import History
from stored import ERASED, PIECE_BYTES, Blobs, Points, StoredPoint, StoredRecord, in_log

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


def check_points(history: History, points: dict[str, StoredPoint]) -> None:
    """I2 and I9 of the index: a live point has its vector, an erased one nothing but its mark."""
    for face, point in points.items():
        if point.is_erased:
            history.check("I9", not point.has_vector and not point.fields, f"{face} is erased, and {point} is left of it")
        else:
            history.check("I2", point.has_vector, f"{face} is live, and has no vector")


def check_kept(history: History, records: list[StoredRecord]) -> None:
    """I10, when all has ended in order: of what was acknowledged before, every record has it."""
    live = {face for record in records for face in record.live}
    for slot in (slot for slots in history.slots.values() for slot in slots):
        if slot.pending is None:
            history.check("I10", slot.live is None or slot.live in live, f"{slot.name}: {slot.live} was lost by ending")
        history.check("I10", not slot.deleted & live, f"{slot.name}: {slot.deleted & live} are back after ending")


def unprojected(records: list[StoredRecord], points: dict[str, StoredPoint]) -> list[str]:
    """Faces whose point is not what their record says, and points of no record."""
    found = []
    wanted = {face: (version, face not in record.live) for record in records for face, version in record.versions.items()}
    for face in sorted(wanted.keys() | points.keys()):
        point = points.get(face)
        stored = (point.version, point.is_erased) if point else None
        if stored != wanted.get(face):
            found.append(f"{face}: (version, is erased) is {wanted.get(face)} by its record, {stored} in the index")
    return found


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
        killed_at = self.cluster.index_killed_at
        may_lag = self.history.last_search_asked <= killed_at
        try:
            now = self.points.versions()
        except grpc.RpcError:
            return
        # It may have been killed and be back since the look began.
        may_lag = may_lag or self.cluster.index_killed_at != killed_at
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
        self.points = Points(cluster.backing, cluster.settings["VIDIMUS__QDRANT__COLLECTION_PREFIX"])
        self.unnamed: set[str] = set()
        self.records = 0

    def run(self, clients: dict[str, object], photos: dict[str, list[bytes]]) -> None:
        """Everything; waits for what may take a moment, and for no longer than that. Reconciling comes last: it mends what it finds."""
        for tenant, client in clients.items():
            self.await_found(tenant, client, photos[tenant])
        self.await_projected()
        self.look_at_tenants(clients, photos)
        self.look_at_blobs()
        self.look_at_log([photo for of_tenant in photos.values() for photo in of_tenant])
        self.reconcile()
        self.look_at_tenants(clients, photos)
        for member in self.cluster.processes.members:
            broken = violations_counted(self.cluster.metrics(member.name))
            self.history.check("metrics", not broken, f"{member.name} counts {broken}")

    def await_found(self, tenant: str, client, photos: list[bytes]) -> None:
        """I2: everything acknowledged is found; the log's consumer may have to project a little."""
        wanted = {slot.live for slot in self.history.slots[tenant] if slot.live}
        deadline = time.monotonic() + SETTLED_SECONDS_MAX
        while (lacking := wanted - matched(client, photos)) and time.monotonic() < deadline:
            time.sleep(0.2)
        self.history.check("I2", not lacking, f"{tenant}: {lacking} are not found {SETTLED_SECONDS_MAX} s after all was settled")

    def await_projected(self, ours: Callable[[StoredRecord], bool] = lambda _: True) -> None:
        """The index comes to rest with what the records say; those that are looked at may be some."""
        deadline = time.monotonic() + SETTLED_SECONDS_MAX
        while True:
            records, points = self.blobs.records(), self.points.everything()
            others = {face for record in records if not ours(record) for face in record.versions}
            points = {face: point for face, point in points.items() if face not in others}
            differing = unprojected([record for record in records if ours(record)], points)
            if not differing or time.monotonic() > deadline:
                break
            time.sleep(0.2)
        text = f"{len(differing)} differ {SETTLED_SECONDS_MAX} s after all was settled: {differing[:3]}"
        self.history.check("projection", not differing, text)
        check_points(self.history, points)

    def look_at_tenants(self, clients: dict[str, object], photos: dict[str, list[bytes]]) -> None:
        """I2, I3 and I4, as tenants see it."""
        for tenant, client in clients.items():
            check_slots(self.history, tenant, listed(client), matched(client, photos[tenant]))
            count = client.describe_collection(CollectionId="staff")["FaceCount"]
            known = sum(1 for slot in self.history.slots[tenant] if slot.live)
            self.history.check("I4", count == known, f"{tenant} has {count} faces, not {known}")

    def reconcile(self) -> None:
        """Reconciling looks at everything, and finds nothing to mend."""
        found = self.cluster.admin("reconcile", "--full")
        self.history.check("reconciling", found["compared_records"] >= self.records, f"it has not looked at all: {found}")
        mended = found["differences"] + found["unreadable_records"]
        self.history.check("reconciling", mended == 0, f"reconciling found what was left to it: {found}")

    def look_at_log(self, photos: list[bytes]) -> None:
        """I9, in Kafka: no record there has anything of a photo or of a template."""
        records = self.blobs.records()
        images = {uuid.UUID(record.image).bytes for record in records}
        pieces = {photo[len(photo) // 2 :][:PIECE_BYTES] for photo in photos}
        pieces |= {template for record in records for template in record.templates}
        found = in_log(self.cluster.folder / "backing/kafka", images | pieces)
        self.history.check("I9", not found & pieces, f"{len(found & pieces)} pieces of photos or templates are in the log")
        # Else this looks at nothing.
        self.history.check("I9", bool(found & images) or not images, "no image is named in the log that can be read")

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

