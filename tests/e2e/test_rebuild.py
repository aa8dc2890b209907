"""An index that is made again from the records alone, and collections that move between index collections, while clients search."""

import json
import os
import signal
import subprocess
import threading
import time

import pytest
from asking import enrol, face_count, face_ids, refusal, search
from service import Service, binary, is_distributed, models

pytestmark = pytest.mark.moves

TENANT = "first"
# Qdrant is believed to have what it was told half a minute ago.
REBUILD_SECONDS_MAX = 240
DROPPED_SECONDS_MAX = 30


@pytest.fixture
def own(folder):
    """A service for one test, which may end it."""
    started = Service(folder)
    started.start()
    yield started
    started.close()


@pytest.fixture
def people(own, photos):
    """A client of a collection with two faces, and one that was deleted."""
    client = own.client(own.new_tenant(TENANT))
    client.create_collection(CollectionId="people")
    [obama] = enrol(client, "people", photos.obama, "obama")
    [biden] = enrol(client, "people", photos.biden, "biden")
    [deleted] = enrol(client, "people", photos.obama2, "gone")
    client.delete_faces(CollectionId="people", FaceIds=[deleted])
    return client, obama, biden


def words(*flags: str, collection: str = "people", tenant: str = TENANT) -> list[str]:
    """The words of a rebuild."""
    return ["rebuild-index", "--tenant", tenant, "--collection", collection, *flags]


def begin_rebuild(service, *flags: str) -> subprocess.Popen:
    """Begins a rebuild, which goes on."""
    environment = {**os.environ, **service.admin_environment()}
    command = [str(binary()), "admin", *words("--json", *flags), *service.admin_flags()]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment)


def end_rebuild(began: subprocess.Popen) -> dict:
    """Waits for a rebuild's end; what it says."""
    said, noted = began.communicate(timeout=REBUILD_SECONDS_MAX)
    assert began.returncode == 0, noted
    return json.loads(said)


def shown(service) -> tuple[str, str]:
    """Where the collection lies, and whether it moves."""
    collection = service.admin("collection", "show", TENANT, "people")
    return collection["placement"], collection["moving"]


class Searching:
    """Searches, enrols and deletes all the time; every answer must be right."""

    def __init__(self, client, photos, obama: str, biden: str) -> None:
        self.client, self.photos, self.obama, self.biden = client, photos, obama, biden
        self.rounds = 0
        self.wrong: list[str] = []
        self.ends = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def __enter__(self) -> "Searching":
        self.thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.ends.set()
        self.thread.join()
        assert self.wrong == []
        assert self.rounds > 0

    def run(self) -> None:
        while not self.ends.is_set() and not self.wrong:
            try:
                self.once()
            except Exception as error:  # noqa: BLE001
                self.wrong.append(repr(error))
            self.rounds += 1

    def once(self) -> None:
        client = self.client
        self.must("before", search(client, "people", self.photos.obama2), [self.obama])
        self.must("listed", sorted(face_ids(client, "people")), sorted([self.obama, self.biden]))
        [more] = enrol(client, "people", self.photos.obama2, f"more-{self.rounds}")
        self.must("enrolled", sorted(search(client, "people", self.photos.obama2)), sorted([self.obama, more]))
        self.must("counted", face_count(client, "people"), 3)
        client.delete_faces(CollectionId="people", FaceIds=[more])
        self.must("deleted", search(client, "people", self.photos.obama2), [self.obama])
        by_face = client.search_faces(CollectionId="people", FaceId=self.biden, FaceMatchThreshold=0)
        self.must("by face", [match["Face"]["FaceId"] for match in by_face["FaceMatches"]], [self.obama])

    def must(self, what: str, found, wanted) -> None:
        if found != wanted:
            self.wrong.append(f"round {self.rounds}, {what}: {found}, not {wanted}")


def test_an_index_is_made_again_while_clients_search(own, people, photos):
    client, obama, biden = people
    model, moving = shown(own)
    assert moving == "no"
    with Searching(client, photos, obama, biden):
        made = end_rebuild(begin_rebuild(own))
    assert (made["state"], made["from"], made["to"]) == ("done", model, f"{model}.2")
    assert made["said_records"] >= 3 and made["compared_records"] >= 3
    assert shown(own) == (f"{model}.2", "no")
    assert search(client, "people", photos.obama2) == [obama]
    assert own.admin("reconcile", "--full")["differences"] == 0
    # What is enrolled and deleted after it is found and gone after it.
    [again] = enrol(client, "people", photos.obama2, "gone")
    assert set(search(client, "people", photos.obama)) == {obama, again}
    client.delete_faces(CollectionId="people", FaceIds=[again])
    assert search(client, "people", photos.obama2) == [obama]


def test_a_collection_moves_to_an_index_collection_of_its_own_and_back(own, people, photos):
    client, obama, biden = people
    model, _ = shown(own)
    with Searching(client, photos, obama, biden):
        moved = end_rebuild(begin_rebuild(own, "--own"))
        assert moved["to"].startswith(f"{model}.") and len(moved["to"]) > len(model) + 30
        assert shown(own) == (moved["to"], "no")
        assert moved["to"] in own.index_collections()
        back = end_rebuild(begin_rebuild(own, "--shared"))
    # Where it was at first something might come late for about two days.
    assert (back["from"], back["to"]) == (moved["to"], f"{model}.2")
    deadline = time.monotonic() + DROPPED_SECONDS_MAX
    while moved["to"] in own.index_collections():
        assert time.monotonic() < deadline, "its own is dropped, a lease after it was left"
        time.sleep(0.2)
    assert own.index_collections() == {model, f"{model}.2"}
    too_early = own.admin_refusal(*words("--placement", model))
    assert "left" in too_early and "two days" in too_early
    assert search(client, "people", photos.biden) == [biden]


def until_it_lies_still(service) -> str:
    """Waits until the collection moves no more; where it lies then."""
    deadline = time.monotonic() + REBUILD_SECONDS_MAX
    while True:
        placement, moving = shown(service)
        if moving == "no":
            return placement
        assert time.monotonic() < deadline, f"it is {moving} and nobody drives it"
        time.sleep(0.5)


def test_what_breaks_off_is_taken_up_when_the_service_starts(own, people, photos):
    client, obama, biden = people
    model, _ = shown(own)
    began = begin_rebuild(own)
    deadline = time.monotonic() + 30
    while shown(own)[1] == "no" and began.poll() is None:
        assert time.monotonic() < deadline
    if is_distributed():
        [ledger] = own.processes.of("ledger")
        ledger.popen.kill()
        ledger.popen.wait(30)
    else:
        own.stop(signal.SIGKILL)
    began.communicate(timeout=REBUILD_SECONDS_MAX)
    if is_distributed():
        own.processes.start_one(ledger, own.shared_settings(), models())
        own.processes.wait_for(ledger, time.monotonic() + 60)
    else:
        own.start()
        client = own.client(own.new_key(TENANT))
    assert search(client, "people", photos.obama2) == [obama]
    with Searching(client, photos, obama, biden):
        # A move that had begun goes on by itself.
        placement = until_it_lies_still(own)
        assert placement == f"{model}.2" or not is_distributed()
        made = end_rebuild(begin_rebuild(own))
    assert (made["state"], made["from"]) == ("done", placement)
    assert shown(own)[1] == "no"
    assert own.admin("reconcile", "--full")["differences"] == 0


def test_a_second_command_follows_the_first_and_a_move_can_be_given_up(own, people, photos):
    client, obama, biden = people
    model, _ = shown(own)
    if is_distributed():
        # There it takes long enough to be given up in the middle.
        began = begin_rebuild(own)
        deadline = time.monotonic() + 30
        while shown(own)[1] == "no":
            assert time.monotonic() < deadline
        given_up = own.admin(*words("--cancel"))
        assert given_up["state"] == "given_up"
        assert began.wait(REBUILD_SECONDS_MAX) != 0
        assert shown(own) == (model, "no")
    both = [begin_rebuild(own), begin_rebuild(own)]
    ended = [end_rebuild(one) for one in both]
    assert all(made["state"] == "done" for made in ended)
    nothing = own.admin_refusal(*words("--cancel"))
    assert "is not being moved" in nothing
    assert search(client, "people", photos.obama2) == [obama]
    assert refusal(client.search_faces, CollectionId="people", FaceId=biden[:-1] + "f") == "InvalidParameterException"


def test_a_deleted_collection_ends_its_move(own, people, photos):
    client, _, _ = people
    began = begin_rebuild(own)
    client.delete_collection(CollectionId="people")
    began.communicate(timeout=REBUILD_SECONDS_MAX)
    client.create_collection(CollectionId="people")
    assert search(client, "people", photos.obama2) == []
    [obama] = enrol(client, "people", photos.obama, "obama")
    assert end_rebuild(begin_rebuild(own))["state"] == "done"
    assert search(client, "people", photos.obama2) == [obama]


def test_what_cannot_be_moved_is_said_clearly(own, people):
    model, _ = shown(own)

    def refused(collection: str, *flags: str) -> str:
        return own.admin_refusal(*words(*flags, collection=collection))

    assert "nobody" in refused("nobody")
    assert "no tenant" in own.admin_refusal(*words(tenant="nobody"))
    assert f"{model}.SOMETHING" in refused("people", "--placement", "elsewhere")
    assert "already" in refused("people", "--placement", model)
    assert "placement" in refused("people", "--placement", "no/name")
    assert "cannot be used with" in refused("people", "--own", "--shared")
