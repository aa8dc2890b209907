"""A tenant moves from one deployment to another as a file, and what was deleted since stays deleted."""

import base64
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from asking import enrol, face_ids, refusal, search
from grpc_client import GrpcClient
from service import EmbeddedService, Key, Service

pytestmark = pytest.mark.shared


@pytest.fixture(scope="module")
def another(tmp_path_factory: pytest.TempPathFactory):
    """A service in one process, whatever the first one is: what moves, moves between the modes."""
    started = EmbeddedService(tmp_path_factory.mktemp("another"))
    started.start()
    yield started
    started.close()


def wait_for(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Waits until the index has followed."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not so after {seconds} s"
        time.sleep(0.05)


def export(service: Service, file: Path, tenant: str, *more: str) -> dict:
    """Exports a tenant; what it says."""
    return service.admin("export", "--tenant", tenant, "--output", str(file), *more)


def test_a_tenant_moves_with_its_keys_faces_users_and_photos(service, another, photos, folder):
    key = service.new_tenant("moves")
    client = service.client(key)
    client.create_collection(CollectionId="people", Tags={"floor": "3"})
    [obama] = enrol(client, "people", photos.obama, "obama")
    [biden] = enrol(client, "people", photos.biden)
    client.create_user(CollectionId="people", UserId="anna")
    client.associate_faces(CollectionId="people", UserId="anna", FaceIds=[obama])
    file = folder / "moves.export"

    said = export(service, file, "moves")
    assert (said["collections"], said["users"], said["records"], said["photos"]) == (1, 1, 2, 2)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert os.listdir(folder) == ["moves.export"]
    said = another.admin("import", str(file))
    assert (said["collections_made"], said["records_added"], said["photos_put"]) == (1, 2, 2)

    there = another.client(key)
    assert there.list_collections()["CollectionIds"] == ["people"]
    wait_for(lambda: sorted(face_ids(there, "people")) == sorted([obama, biden]))
    assert search(there, "people", photos.obama2) == [obama]
    found = there.search_users_by_image(CollectionId="people", Image={"Bytes": photos.obama2})
    assert [match["User"]["UserId"] for match in found["UserMatches"]] == ["anna"]
    assert enrol(there, "people", photos.obama, "obama") == [obama], "the key of image ids came along"
    arn = there.describe_collection(CollectionId="people")["CollectionARN"]
    assert there.list_tags_for_resource(ResourceArn=arn)["Tags"] == {"floor": "3"}

    again = another.admin("import", str(file))
    assert (again["collections_made"], again["records_added"], again["photos_put"]) == (0, 0, 0)
    assert sorted(face_ids(there, "people")) == sorted([obama, biden])


def test_a_tenant_moves_back(service, another, photos, folder):
    key = another.new_tenant("returns")
    client = another.client(key)
    client.create_collection(CollectionId="people")
    [face] = enrol(client, "people", photos.obama)
    file = folder / "returns.export"
    export(another, file, "returns")
    assert service.admin("import", str(file))["records_added"] == 1
    wait_for(lambda: search(service.client(key), "people", photos.obama2) == [face])


def photo(service, key, face: str) -> bytes:
    """The photo that a face was enrolled with."""
    with grpc.insecure_channel(service.address) as channel:
        pieces = GrpcClient(channel, key).call("GetPhoto", {"collection_id": "people", "face_id": face})
    return b"".join(base64.b64decode(piece["bytes"]) for piece in pieces)


def has(service, key, photos, faces: dict[str, str], users: dict[str, list[str]]) -> None:
    """Waits until a service has these faces, by the names of their photos, and these users; and their photos, to the byte."""
    client = service.client(key)
    wait_for(lambda: sorted(face_ids(client, "people")) == sorted(faces.values()))
    for name, face in faces.items():
        wait_for(lambda name=name, face=face: search(client, "people", getattr(photos, name), MaxFaces=1) == [face])
        assert photo(service, key, face) == getattr(photos, name), name
    listed = {user["UserId"] for user in client.list_users(CollectionId="people")["Users"]}
    assert listed == set(users)
    for user, expected in users.items():
        found = client.list_faces(CollectionId="people", UserId=user)["Faces"]
        assert sorted(face["FaceId"] for face in found) == sorted(expected), user


@pytest.mark.parametrize("first", ["here", "there"])
def test_there_and_back_again(service, another, photos, folder, first):
    source, target = (service, another) if first == "here" else (another, service)
    tenant = f"travels-from-{first}"
    source.admin("tenant", "create", tenant)
    key = key_for_photos(source, tenant)
    client = source.client(key)
    client.create_collection(CollectionId="people")
    faces = {name: enrol(client, "people", getattr(photos, name), name)[0] for name in ["obama", "obama2", "biden"]}
    client.create_user(CollectionId="people", UserId="anna")
    users = {"anna": [faces["obama"], faces["obama2"]]}
    client.associate_faces(CollectionId="people", UserId="anna", FaceIds=users["anna"])
    export(source, folder / "out", tenant)

    target.admin("import", str(folder / "out"))
    has(target, key, photos, faces, users)
    there = target.client(key)
    deleted = {name: faces.pop(name) for name in ["obama2", "biden"]}
    there.disassociate_faces(CollectionId="people", UserId="anna", FaceIds=[deleted["obama2"]])
    gone = there.delete_faces(CollectionId="people", FaceIds=[*deleted.values()])["DeletedFaces"]
    assert sorted(gone) == sorted(deleted.values())
    [faces["astronaut"]] = enrol(there, "people", photos.astronaut, "astronaut")
    there.create_user(CollectionId="people", UserId="berta")
    there.associate_faces(CollectionId="people", UserId="berta", FaceIds=[faces["astronaut"]])
    export(target, folder / "back", tenant)

    source.admin("import", str(folder / "back"))
    users = {"anna": [faces["obama"]], "berta": [faces["astronaut"]]}
    has(source, key, photos, faces, users)
    # What the first file still has of the deleted face comes back on neither side.
    for service_now in [source, target]:
        service_now.admin("import", str(folder / "out"))
        has(service_now, key, photos, faces, users)
        for name, face in deleted.items():
            found = search(service_now.client(key), "people", getattr(photos, name), FaceMatchThreshold=0)
            assert sorted(found) == sorted(faces.values()), f"{face} of {name} is back"


def key_for_photos(service, tenant: str) -> Key:
    """A key that may get photos."""
    made = service.admin("key", "create", tenant, "--may-get-photos")
    return Key(made["access_key_id"], made["secret_access_key"])


def test_what_was_deleted_since_stays_deleted(service, another, photos, folder):
    key = service.new_tenant("deletes")
    client = service.client(key)
    for name in ["people", "others"]:
        client.create_collection(CollectionId=name)
    [kept] = enrol(client, "people", photos.obama)
    [deleted] = enrol(client, "people", photos.biden)
    before = folder / "before.export"
    export(service, before, "deletes", "--collection", "people")
    client.delete_faces(CollectionId="people", FaceIds=[deleted])

    assert service.admin("import", str(before))["records_added"] == 0
    assert face_ids(client, "people") == [kept]
    assert search(client, "people", photos.biden, FaceMatchThreshold=0) == [kept]

    another.admin("import", str(before))
    there = another.client(another.new_key("deletes"))
    wait_for(lambda: deleted in face_ids(there, "people"))
    after = folder / "after.export"
    export(service, after, "deletes", "--collection", "people")
    assert another.admin("import", str(after))["records_merged"] == 1
    wait_for(lambda: face_ids(there, "people") == [kept])
    assert search(there, "people", photos.biden, FaceMatchThreshold=0) == [kept]
    assert refusal(there.describe_collection, CollectionId="others") == "ResourceNotFoundException"

    there.delete_collection(CollectionId="people")
    assert "was deleted here" in another.admin_refusal("import", str(after))
    assert there.list_collections()["CollectionIds"] == []


def test_a_damaged_or_cut_file_brings_nothing_in(service, another, photos, folder):
    client = service.client(service.new_tenant("damaged"))
    client.create_collection(CollectionId="people")
    enrol(client, "people", photos.obama)
    file = folder / "whole.export"
    export(service, file, "damaged")
    whole = file.read_bytes()
    flipped = whole[:-900] + bytes([whole[-900] ^ 1]) + whole[-899:]
    for name, content, why in [
        ("cut", whole[:-1], "cut off"),
        ("flipped", flipped, "damaged"),
        ("other", photos.obama, "no export"),
    ]:
        (folder / name).write_bytes(content)
        assert why in another.admin_refusal("import", str(folder / name)), name
    assert "damaged" not in [tenant["name"] for tenant in another.admin("tenant", "list")]


def test_an_export_overwrites_nothing_and_leaves_nothing_behind(service, folder):
    service.new_tenant("careful")
    file = folder / "there"
    file.write_text("mine")
    said = service.admin_refusal("export", "--tenant", "careful", "--output", str(file))
    assert "exists" in said and file.read_text() == "mine"
    said = service.admin_refusal("export", "--tenant", "nobody", "--output", str(folder / "new"))
    assert "nobody" in said and os.listdir(folder) == ["there"]


@pytest.mark.embedded
def test_directories_of_services_that_do_not_run(photos, folder):
    first, second = EmbeddedService(folder / "first"), EmbeddedService(folder / "second")
    for each in [first, second]:
        each.folder.mkdir()
    try:
        first.start()
        key = first.new_tenant("rests")
        client = first.client(key)
        client.create_collection(CollectionId="people")
        [face] = enrol(client, "people", photos.obama)
        first.stop()
        file = folder / "rests.export"
        assert export(first, file, "rests")["records"] == 1
        assert second.admin("import", str(file))["records_added"] == 1
        second.start()
        assert search(second.client(key), "people", photos.obama2) == [face]
    finally:
        first.close()
        second.close()
