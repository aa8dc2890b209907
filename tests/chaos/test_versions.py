"""Two versions side by side: a program whose newest format is one above this one's (`vidimus-under-test` with `VIDIMUS_AHEAD`) beside
this one, over the same servers. ARCHITECTURE.md says by which rule."""

import base64
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from asking import enrol, face_ids, refusal, search
from cluster import Cluster
from groups import connector
from run import small
from service import binary
from stored import Blobs
from wire import Message

COLLECTION = "staff"
# The newer program's format is above every one that this one knows (`crates/testkit/src/ahead.rs`).
OLDER, NEWER = 1, 4
PATIENCE_SECONDS = 60
#: Who is upgraded first does not matter; here it is whoever is called first.
ORDER = ["embedding-0", "indexing-0", "indexing-1", "ingestion-0", "query-0", "ledger-0", "gateway-0"]


class Versions(Cluster):
    """A service whose processes may be of either version."""

    def upgrade(self, name: str, writes: str) -> None:
        """From its next start on the process is one version ahead, and writes the `older` format or the `newer` one."""
        self.programs[name] = binary().with_name("vidimus-under-test")
        self.own[name] = {"VIDIMUS_AHEAD": writes}

    def replace(self, name: str, writes: str) -> None:
        """Upgrades a process that runs: the orderly way."""
        member = self.member(name)
        member.popen.terminate()
        assert member.popen.wait(60) == 0, self.processes.log_end(member)
        self.upgrade(name, writes)
        self.start_process(name)

    def count(self, name: str, metric: str) -> float:
        """A process's metric, summed over its labels; 0 where it has none yet."""
        lines = [line for line in self.metrics(name).splitlines() if line.split("{")[0].split(" ")[0] == metric]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    def formats(self, kind: str) -> set[int]:
        """The formats of all objects of a kind."""
        blobs = Blobs(self.backing, self.name)
        return {Message(blobs.read(key)).number(1) for key in blobs.keys() if kind in key.split("/")}


def until(holds: Callable[[], object], what: str) -> None:
    """Waits for a condition."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"{PATIENCE_SECONDS} s are over: {what}"
        time.sleep(0.1)


@pytest.fixture
def make(tmp_path: Path):
    """Makes services and ends them."""
    made: list[Versions] = []

    def start(counts: dict[str, int], newer: list[str]) -> Versions:
        service = Versions(tmp_path / "service", counts)
        made.append(service)
        # As in the other tests: whoever enrols finds the face in the next line, on a busy machine too.
        service.environment = {"VIDIMUS__INGESTION__SEARCHABLE_WAIT": "10s"}
        service.start()
        # Not before: what a process stores at the very first start would be too new for the others to start at all.
        for name in newer:
            service.replace(name, "newer")
        return service

    yield start
    for service in made:
        service.close()


def test_an_upgrade_goes_process_by_process_and_loses_nothing(make, photos) -> None:
    service = make({"indexing": 2}, [])
    key = service.new_tenant("first")
    client = service.client(key, retries=5)
    client.create_collection(CollectionId=COLLECTION)
    first, second = small(photos["obama"]), small(photos["biden"])
    kept: list[str] = []
    for writes in ("older", "newer"):
        for step, name in enumerate(ORDER):
            service.replace(name, writes)
            [stays] = enrol(client, COLLECTION, first, f"{writes}-{step}-stays")
            [goes] = enrol(client, COLLECTION, second, f"{writes}-{step}-goes")
            kept.append(stays)
            assert set(search(client, COLLECTION, first)) == set(kept), f"{name} writes {writes}"
            assert search(client, COLLECTION, second) == [goes]
            client.delete_faces(CollectionId=COLLECTION, FaceIds=[goes])
            assert search(client, COLLECTION, second) == []
        expected = {OLDER} if writes == "older" else {OLDER, NEWER}
        assert service.formats("records") == expected, "until all read the newer format, nobody writes it"

    # Records of the older format are rewritten in the newer one, by whoever changes them.
    client.delete_faces(CollectionId=COLLECTION, FaceIds=kept[:2])
    assert set(search(client, COLLECTION, first)) == set(kept[2:]) == set(face_ids(client, COLLECTION))
    client.create_collection(CollectionId="another")
    assert len(enrol(client, "another", first)) == 1
    for name in ("indexing-0", "indexing-1"):
        assert service.count(name, "vidimus_changes_left_to_reconciling_total") == 0


def test_what_is_too_new_is_refused_and_waits_for_who_can_read_it(make, photos) -> None:
    both = {"embedding": 2, "indexing": 2, "ingestion": 2, "query": 2}
    service = make(both, ["embedding-1", "indexing-1", "ingestion-1", "query-1"])
    key = service.new_tenant("first")
    client = service.client(key, retries=5)
    client.create_collection(CollectionId=COLLECTION)
    photo, other = small(photos["obama"]), small(photos["biden"])

    # Written too early by the newer ingestion, while no newer indexing is there.
    for name in ("ingestion-0", "indexing-1", "embedding-1"):
        service.kill(name)
    answer = client.index_faces(CollectionId=COLLECTION, Image={"Bytes": photo}, ExternalImageId="early")
    [face] = [record["Face"]["FaceId"] for record in answer["FaceRecords"]]
    assert service.formats("records") == {NEWER}
    service.restart("ingestion-0")
    service.kill("ingestion-1")
    once = service.client(key)
    again = {"CollectionId": COLLECTION, "Image": {"Bytes": photo}, "ExternalImageId": "early"}
    assert refusal(once.delete_faces, CollectionId=COLLECTION, FaceIds=[face]) == "ThrottlingException"
    assert refusal(once.index_faces, **again) == "ThrottlingException"

    # What this version writes meanwhile goes its way.
    [own] = enrol(client, COLLECTION, other, "own")
    until(lambda: search(client, COLLECTION, other) == [own], "the older change is projected beside the newer one")
    assert service.count("indexing-0", "vidimus_changes_left_to_reconciling_total") == 0

    # Whoever can read it gets it, though the older process is still in the group.
    service.restart("indexing-1")
    until(lambda: search(client, COLLECTION, photo) == [face], "the newer change is projected")
    service.restart("ingestion-1")
    service.kill("ingestion-0")
    client.delete_faces(CollectionId=COLLECTION, FaceIds=[face])
    assert search(client, COLLECTION, photo) == []
    assert face_ids(client, COLLECTION) == [own]
    assert_bulk_waits(service, key, photo)
    assert_audit_waits(service, client, photo)


def assert_bulk_waits(service: Versions, key, photo: bytes) -> None:
    """A photo that the newer ingestion accepted waits for a worker that can read it, and is not set aside."""
    head = {"collection_id": COLLECTION, "job_id": "job"}
    sent = {"photo": {"name": "a.jpg", "bytes": base64.b64encode(photo).decode()}}
    calls = connector(service.address, key)()
    with pytest.raises(grpc.RpcError):
        calls.bulk([head, sent], timeout=5)
    until(lambda: service.count("embedding-0", "vidimus_bulk_photo_retries_total") > 0, "the older worker tries and leaves it")
    service.restart("embedding-1")
    answers = calls.bulk([head, sent], timeout=PATIENCE_SECONDS)
    assert answers["a.jpg"]["outcome"] == "ENROLLED", answers
    assert service.admin("dead-letters", "list") == []


def assert_audit_waits(service: Versions, client, photo: bytes) -> None:
    """Audit records of the newer query wait for a ledger that can read them."""
    service.kill("query-0")
    answer = client.search_faces_by_image(CollectionId=COLLECTION, Image={"Bytes": photo})
    request = answer["ResponseMetadata"]["RequestId"]
    blobs = Blobs(service.backing, service.name)
    time.sleep(3)
    assert request not in blobs.audited(), "the older ledger cannot have written it"
    service.replace("ledger-0", "newer")
    until(lambda: request in blobs.audited(), "the newer ledger writes it")
