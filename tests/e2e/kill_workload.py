"""What clients do to a service that dies under them, and what must hold of it whenever it is back."""

import random
import threading
from dataclasses import dataclass, field

from botocore.exceptions import BotoCoreError, ClientError

SLOTS_OF_A_WORKER = 5
PAGE = 7


@dataclass
class Slot:
    """A name for a photo of one face, and what is known of its faces."""

    name: str
    # What was acknowledged last; None where the last call's fate is not known.
    live: str | None = None
    pending: str | None = None
    deleted: set[str] = field(default_factory=set)


class Worker:
    """Enrols, deletes and enrols again under its own names until a call is not answered."""

    def __init__(self, number: int, photo: bytes, collection: str, seed: int) -> None:
        self.slots = [Slot(f"worker-{number}-slot-{slot}") for slot in range(SLOTS_OF_A_WORKER)]
        self.photo = photo
        self.collection = collection
        self.random = random.Random(seed)
        self.acknowledged = 0
        self.failure: BaseException | None = None

    def run(self, client) -> threading.Thread:
        """Starts the worker on a client of the service as it is now."""
        thread = threading.Thread(target=self._run, args=(client,))
        thread.start()
        return thread

    def _run(self, client) -> None:
        try:
            while True:
                self.step(client, self.random.choice(self.slots))
        except (BotoCoreError, ClientError) as error:
            # The service died, or says that it is dying; anything else is a failure of the test.
            if isinstance(error, ClientError) and error.response["ResponseMetadata"]["HTTPStatusCode"] < 500:
                self.failure = error
        except AssertionError as error:
            self.failure = error

    def step(self, client, slot: Slot) -> None:
        """Does what comes next for a slot: first what was not answered, then the opposite of what is."""
        if slot.pending is None:
            slot.pending = "delete" if slot.live else "enrol"
        if slot.pending == "enrol":
            self._enrol(client, slot)
        else:
            self._delete(client, slot)

    def _acknowledge(self, slot: Slot) -> None:
        slot.pending = None
        self.acknowledged += 1

    def _enrol(self, client, slot: Slot) -> None:
        answer = client.index_faces(
            CollectionId=self.collection, Image={"Bytes": self.photo}, ExternalImageId=slot.name
        )
        faces = [record["Face"]["FaceId"] for record in answer["FaceRecords"]]
        assert len(faces) == 1, f"{slot.name}: {faces}"
        assert faces[0] not in slot.deleted, f"{slot.name}: {faces[0]} came back by enrolling again"
        slot.live = faces[0]
        self._acknowledge(slot)

    def _delete(self, client, slot: Slot) -> None:
        answer = client.delete_faces(CollectionId=self.collection, FaceIds=[slot.live])
        assert answer["DeletedFaces"] == [slot.live], f"{slot.name}: {answer}"
        slot.deleted.add(slot.live)
        slot.live = None
        self._acknowledge(slot)
        if self.random.random() < 0.2:
            self._search(client, slot)

    def _search(self, client, slot: Slot) -> None:
        """What was deleted a moment ago does not match."""
        answer = client.search_faces_by_image(
            CollectionId=self.collection, Image={"Bytes": self.photo}, MaxFaces=4096
        )
        found = {match["Face"]["FaceId"] for match in answer["FaceMatches"]}
        assert not found & slot.deleted, f"{slot.name}: {found & slot.deleted} match after deletion"


def check(client, collection: str, workers: list[Worker]) -> None:
    """Whatever was acknowledged holds: I2, I3 and I4, by listing and by searching."""
    listed = list_all(client, collection)
    assert len(listed) == len(set(listed)), "a face is listed twice"
    by_name: dict[str, list[str]] = {}
    for face, name in listed.items():
        by_name.setdefault(name, []).append(face)
    for worker in workers:
        matched = search_all(client, collection, worker.photo)
        # What was not answered may still be carried out between the listing and the search.
        expected = {slot.live for slot in worker.slots if slot.live and slot.pending is None}
        assert expected <= matched, f"acknowledged but not found: {expected - matched}"
        for slot in worker.slots:
            check_slot(slot, by_name.get(slot.name, []), matched)


def check_slot(slot: Slot, listed: list[str], matched: set[str]) -> None:
    """One name: at most one face, the acknowledged one where there is one, and none that was deleted."""
    assert len(listed) <= 1, f"{slot.name} has duplicates: {listed}"
    back = slot.deleted & (set(listed) | matched)
    assert not back, f"{slot.name}: deleted faces are back: {back}"
    if slot.pending is None:
        known = [slot.live] if slot.live else []
        assert listed == known, f"{slot.name}: acknowledged {known}, found {listed}"
    elif slot.pending == "delete":
        assert listed in ([], [slot.live]), f"{slot.name}: being deleted {slot.live}, found {listed}"


def list_all(client, collection: str) -> dict[str, str]:
    """Every listed face with its external image id, page by page."""
    pages = client.get_paginator("list_faces").paginate(
        CollectionId=collection, PaginationConfig={"PageSize": PAGE}
    )
    found: dict[str, str] = {}
    for page in pages:
        for face in page["Faces"]:
            assert face["FaceId"] not in found, f"{face['FaceId']} is listed twice"
            found[face["FaceId"]] = face["ExternalImageId"]
    return found


def search_all(client, collection: str, photo: bytes) -> set[str]:
    """Every face that matches a photo."""
    answer = client.search_faces_by_image(CollectionId=collection, Image={"Bytes": photo}, MaxFaces=4096)
    return {match["Face"]["FaceId"] for match in answer["FaceMatches"]}
