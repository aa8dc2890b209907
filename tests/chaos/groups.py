"""Clients of users and of the bulk lane."""

import base64
import time

import grpc
from clients import Owner, Unknown
from grpc_client import GrpcClient
from history import History, Match, Slot

# A channel that has lost its gateway looks for it again this often at least.
CHANNEL = [("grpc.max_reconnect_backoff_ms", 500), ("grpc.initial_reconnect_backoff_ms", 100)]


class Grouper(Owner):
    """Makes a user of a face, looks for it, and takes it apart again, one acknowledged call after the other."""

    kind = "grouper"
    names = 1

    def __init__(self, history: History, tenant: str, api, seed: int, photo: bytes) -> None:
        super().__init__(history, tenant, api, seed, photo)
        self.round = 0
        self.done = 0

    @property
    def user(self) -> str:
        """The user of this round."""
        return f"{self.tenant}-user-{self.round}"

    def step(self) -> None:
        """The next call of the round, asked until it is acknowledged."""
        self.replace_worn()
        slot = self.slots[0]
        calls = [self.begin, self.create, self.associate, self.find, self.dissolve, self.delete_user, self.end]
        calls[self.done](slot)
        self.done = (self.done + 1) % len(calls)
        self.round += self.done == 0
        self.ending.wait(0.1)

    def begin(self, slot: Slot) -> None:
        """Enrols the face."""
        slot.pending = "enrol"
        self.enrol(slot)

    def _ask(self, operation: str, call, **arguments) -> dict:
        token = f"{self.user}-{operation}"
        return self.ask(operation, call, CollectionId="staff", UserId=self.user, ClientRequestToken=token, **arguments)

    def create(self, _: Slot) -> None:
        """Makes the user."""
        self._ask("CreateUser", self.api.create_user)

    def associate(self, slot: Slot) -> None:
        """Makes the face the user's."""
        answer = self._ask("AssociateFaces", self.api.associate_faces, FaceIds=[slot.live])
        got = [face["FaceId"] for face in answer["AssociatedFaces"]]
        self.history.check("users", got == [slot.live], f"{self.user} was given {answer}")

    def find(self, slot: Slot) -> None:
        """Searches for users: only this tenant's, and none that was deleted."""
        asked = self.history.asks(self.tenant, 100, 80.0)
        answer = self.ask(
            "SearchUsersByImage",
            self.api.search_users_by_image,
            CollectionId="staff",
            Image={"Bytes": self.photo},
            MaxUsers=100,
            UserMatchThreshold=80,
        )
        found = [Match(one["User"]["UserId"], one["User"]["UserId"], one["Similarity"]) for one in answer["UserMatches"]]
        self.history.answered(asked, answer["ResponseMetadata"]["RequestId"], found)
        listed = self.ask("ListFaces", self.api.list_faces, CollectionId="staff", UserId=self.user)
        faces = [face["FaceId"] for face in listed["Faces"]]
        self.history.check("users", faces in ([], [slot.live]), f"{self.user} has {faces}, not {slot.live}")

    def dissolve(self, slot: Slot) -> None:
        """Takes the face from the user."""
        answer = self._ask("DisassociateFaces", self.api.disassociate_faces, FaceIds=[slot.live])
        got = [face["FaceId"] for face in answer["DisassociatedFaces"]]
        self.history.check("users", got == [slot.live], f"{self.user} gave back {answer}")

    def delete_user(self, _: Slot) -> None:
        """Deletes the user."""
        self._ask("DeleteUser", self.api.delete_user)
        self.history.is_deleted(self.user)

    def end(self, slot: Slot) -> None:
        """Deletes the face."""
        slot.pending = "delete"
        self.delete(slot)

    def settle(self) -> None:
        """The round goes to its end."""
        while self.done:
            self.step()


class Bulker(Owner):
    """Brings photos in by jobs, which it begins again until every photo is answered, and deletes their faces again."""

    kind = "bulker"
    # How long a job may take; one that is not answered by then is begun again.
    seconds_max = 20.0

    def __init__(self, history: History, tenant: str, api, seed: int, photo: bytes) -> None:
        super().__init__(history, tenant, api, seed, photo)
        self.round = 0
        self.channel: grpc.Channel | None = None
        self.calls: GrpcClient | None = None
        self.connect = None

    def step(self) -> None:
        """A job, then the deletions of what it brought; either until all of it is acknowledged."""
        waiting = [slot for slot in self.slots if slot.pending == "delete"]
        if waiting:
            self.delete(waiting[0])
            return
        self.replace_worn()
        for slot in self.slots:
            slot.pending = "enrol"
        self.job()
        for slot in self.slots[1:]:
            slot.pending = "delete"
        self.ending.wait(0.2)

    def job(self) -> None:
        """One job over all names; those whose faces were left are found there."""
        answers = self.ask_bulk()
        for slot in self.slots:
            answer = answers.get(slot.name, {})
            faces = answer.get("face_ids", [])
            is_there = answer.get("outcome") in ("ENROLLED", "ALREADY_THERE") and len(faces) == 1
            if not is_there:
                if answer.get("outcome") != "FAILED":
                    self.history.violated("I2", f"{slot.name} of a job: {answer}")
                raise Unknown
        for slot in self.slots:
            [face] = answers[slot.name]["face_ids"]
            self.history.check("I3", face not in slot.deleted, f"{slot.name}: a job brought {face} back")
            slot.live, slot.pending = face, None
            slot.enrolments += 1
        self.round += 1

    def ask_bulk(self) -> dict[str, dict]:
        """Sends a job to its end."""
        head = {"collection_id": "staff", "job_id": f"{self.tenant}-job-{self.round}"}
        content = base64.b64encode(self.photo).decode()
        photos = [
            {"photo": {"name": slot.name, "external_image_id": slot.name, "bytes": content}} for slot in self.slots
        ]
        began = time.monotonic()
        try:
            if self.calls is None:
                self.calls = self.connect()
            answers = self.calls.bulk([head, *photos], timeout=self.seconds_max)
        except grpc.RpcError as error:
            self.history.called("BulkIndex", "unknown", str(error.code()))
            raise Unknown from error
        finally:
            self.history.took("BulkIndex", time.monotonic() - began)
        self.is_acknowledged("BulkIndex")
        return answers

    def enrol(self, slot: Slot) -> None:
        """A slot of a job is settled by the job."""
        if slot.pending == "enrol":
            self.job()


def connector(address: str, key):
    """Makes a client that asks a gateway over gRPC."""

    def connect() -> GrpcClient:
        return GrpcClient(grpc.insecure_channel(address, options=CHANNEL), key)

    return connect

