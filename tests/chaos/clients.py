"""Clients that go on whatever dies: they take an error for an unknown outcome, and ask again."""

import itertools
import random
import threading
import time
import uuid
from collections.abc import Callable

from botocore.exceptions import BotoCoreError, ClientError
from history import History, Match, Slot

# How long a client waits after an error, between the two.
PAUSE_SECONDS = (0.05, 0.5)
FACES_MAX = 4096
# A name is enrolled so often before another takes its place.
ENROLMENTS_MAX = 300
# How often a client that rests looks whether it still does.
RESTING_SECONDS = 0.2
# Errors that say that the same may go well later: the only ones that a client may be given here.
RETRYABLE = {"ThrottlingException", "ProvisionedThroughputExceededException", "ConflictException"}


class Unknown(Exception):
    """The call's outcome is not known."""


class NoSuchFace(Exception):
    """The service says that the collection has no such face: an answer like another."""


class Client(threading.Thread):
    """One thread of one tenant. A subclass says what a step is."""

    def __init__(self, history: History, tenant: str, api, seed: int) -> None:
        super().__init__(daemon=True)
        self.history = history
        self.tenant = tenant
        self.api = api
        self.request = ""
        api.meta.events.register_first("request-created.rekognition", self._name_request)
        self.random = random.Random(seed)
        self.acknowledged = 0
        self.ending = threading.Event()
        self.resting = threading.Event()
        self.failure: BaseException | None = None

    def _name_request(self, request, **_) -> None:
        """Gives a request the id that `again` was given, in place of the SDK's own."""
        if self.request:
            request.context["retries"]["invocation-id"] = self.request

    def run(self) -> None:
        """Steps until told to end."""
        while not self.ending.is_set():
            if self.resting.is_set():
                self.ending.wait(RESTING_SECONDS)
                continue
            try:
                self.step()
            except NoSuchFace:
                pass
            except Unknown:
                self.ending.wait(self.random.uniform(*PAUSE_SECONDS))
            except BaseException as error:
                # A defect of this test, or an answer that no client expects: the run ends with it.
                self.failure = error
                return

    def step(self) -> None:
        """Does one thing."""
        raise NotImplementedError

    def ask(self, operation: str, call: Callable[..., dict], **arguments) -> dict:
        """Asks; an answer is an acknowledgement, anything else is not."""
        began = time.monotonic()
        try:
            answer = call(**arguments)
        except ClientError as error:
            if is_no_such_face(error):
                self.is_acknowledged(operation)
                raise NoSuchFace from error
            code = error.response["Error"]["Code"]
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            self.history.called(operation, "refused", f"{code} {status}")
            if code not in RETRYABLE:
                self.history.violated("refusals", f"{operation}: {code} {status}: {error}")
            raise Unknown from error
        except BotoCoreError as error:
            self.history.called(operation, "unknown", type(error).__name__)
            raise Unknown from error
        finally:
            self.history.took(operation, time.monotonic() - began)
        self.is_acknowledged(operation)
        return answer

    def is_acknowledged(self, operation: str) -> None:
        """Counts a call that was answered."""
        self.history.called(operation, "acknowledged")
        self.acknowledged += 1

    def search(self, operation: str, call: Callable[..., dict], threshold: float = 80.0, **arguments) -> list[Match]:
        """Searches for faces, and has the answer checked."""
        faces_max = self.random.choice([1, 3, FACES_MAX])
        asked = self.history.asks(self.tenant, faces_max, threshold)
        answer = self.ask(operation, call, MaxFaces=faces_max, FaceMatchThreshold=threshold, **arguments)
        matches = [
            Match(found["Face"]["FaceId"], found["Face"].get("ExternalImageId", ""), found["Similarity"])
            for found in answer["FaceMatches"]
        ]
        self.history.answered(asked, answer["ResponseMetadata"]["RequestId"], matches)
        return matches


class Owner(Client):
    """Has names of its own that nobody else enrols or deletes."""

    kind = "owner"
    names = 4

    def __init__(self, history: History, tenant: str, api, seed: int, photo: bytes) -> None:
        super().__init__(history, tenant, api, seed)
        self.photo = photo
        self.numbers = itertools.count()
        self.name = f"{tenant}-{self.kind}-{seed}"
        self.slots = [self.new_slot() for _ in range(self.names)]

    def new_slot(self) -> Slot:
        """Another name."""
        slot = Slot(f"{self.name}-{next(self.numbers)}")
        self.history.slots.setdefault(self.tenant, []).append(slot)
        return slot

    def replace_worn(self) -> None:
        """Takes new names for those that were enrolled often: a photo is enrolled at most a thousand times a day."""
        for place, slot in enumerate(self.slots):
            if slot.enrolments >= ENROLMENTS_MAX and slot.live is None and slot.pending is None:
                self.slots[place] = self.new_slot()

    def settle(self) -> None:
        """Has everything answered that was not, once nothing dies any more."""
        for slot in self.slots:
            if slot.pending == "enrol":
                self.enrol(slot)
            elif slot.pending == "delete":
                self.delete(slot)

    def enrol(self, slot: Slot) -> None:
        """Enrols a slot's photo; by the same request, where an earlier call was not answered."""
        slot.request = slot.request or str(uuid.UUID(int=self.random.getrandbits(128)))
        self.request = slot.request
        try:
            answer = self.ask(
                "IndexFaces",
                self.api.index_faces,
                CollectionId="staff",
                Image={"Bytes": self.photo},
                ExternalImageId=slot.name,
            )
        finally:
            self.request = ""
        faces = [record["Face"]["FaceId"] for record in answer["FaceRecords"]]
        self.history.check("I4", len(faces) == 1, f"{slot.name} enrolled as {faces}")
        self.history.check("I3", not set(faces) & slot.deleted, f"{slot.name}: {faces} came back by enrolling again")
        slot.live, slot.pending, slot.request = faces[0], None, ""
        slot.enrolments += 1

    def delete(self, slot: Slot) -> None:
        """Deletes a slot's face; again, where an earlier call was not answered."""
        face = slot.live
        answer = self.ask("DeleteFaces", self.api.delete_faces, CollectionId="staff", FaceIds=[face])
        deleted = answer["DeletedFaces"]
        self.history.check("I3", deleted == [face], f"{slot.name}: {face} was deleted as {answer}")
        self.history.is_deleted(face)
        slot.deleted.add(face)
        slot.live, slot.pending = None, None


class Enroller(Owner):
    """Enrols, deletes and enrols again."""

    kind = "enroller"

    def step(self) -> None:
        """First what was not answered, then the opposite of what is; then, now and then, a search."""
        self.replace_worn()
        slot = self.random.choice(self.slots)
        if slot.pending is None:
            slot.pending = "delete" if slot.live else "enrol"
        if slot.pending == "enrol":
            self.enrol(slot)
        else:
            self.delete(slot)
        if self.random.random() < 0.3:
            photo = {"Bytes": self.photo}
            self.search("SearchFacesByImage", self.api.search_faces_by_image, CollectionId="staff", Image=photo)


class Snooper(Client):
    """Searches, lists, and asks for what is another tenant's."""

    def __init__(self, history: History, tenant: str, api, seed: int, photos: list[bytes]) -> None:
        super().__init__(history, tenant, api, seed)
        self.photos = photos

    def step(self) -> None:
        """One question."""
        self.random.choice([self.find, self.find, self.find_low, self.list_own, self.ask_for_anothers])()
        self.ending.wait(self.random.uniform(0.0, 0.1))

    def find(self) -> None:
        """Searches with a photo, then with what it found."""
        photo = self.random.choice(self.photos)
        matches = self.search(
            "SearchFacesByImage", self.api.search_faces_by_image, CollectionId="staff", Image={"Bytes": photo}
        )
        if matches:
            face = self.random.choice(matches).face
            # It may be gone by now.
            self.search("SearchFaces", self.api.search_faces, CollectionId="staff", FaceId=face)

    def find_low(self) -> None:
        """Whatever is there, mate or not."""
        photo = {"Bytes": self.random.choice(self.photos)}
        call = self.api.search_faces_by_image
        self.search("SearchFacesByImage", call, threshold=0.0, CollectionId="staff", Image=photo)

    def list_own(self) -> None:
        """Lists the faces."""
        asked = self.history.asks(self.tenant, FACES_MAX, 0.0)
        answer = self.ask("ListFaces", self.api.list_faces, CollectionId="staff", MaxResults=1000)
        own = f"{self.tenant}-"
        strangers = [face for face in answer["Faces"] if not face.get("ExternalImageId", "").startswith(own)]
        self.history.check("I1", not strangers, f"{self.tenant} was listed {strangers}")
        back = [face["FaceId"] for face in answer["Faces"] if self.history.was_deleted(face["FaceId"], asked)]
        self.history.check("I3", not back, f"{back} are listed after their deletion")

    def ask_for_anothers(self) -> None:
        """Another tenant's face is no face of this one's: neither to search by nor to delete."""
        others = [slot.live for tenant, slots in self.history.slots.items() if tenant != self.tenant for slot in slots]
        others = [face for face in others if face]
        if not others:
            return
        face = self.random.choice(others)
        try:
            self.search("SearchFaces", self.api.search_faces, CollectionId="staff", FaceId=face)
            self.history.check("I1", False, f"{self.tenant} searched by {face} of another tenant")
        except NoSuchFace:
            self.history.check("I1", True, "")
        answer = self.ask("DeleteFaces", self.api.delete_faces, CollectionId="staff", FaceIds=[face])
        self.history.check("I1", answer["DeletedFaces"] == [], f"{self.tenant} deleted {face} of another tenant")


def is_no_such_face(error: ClientError) -> bool:
    """Whether the service said that there is no such face in the collection."""
    said = error.response["Error"]
    return said["Code"] == "InvalidParameterException" and "not found in the collection" in said["Message"]
