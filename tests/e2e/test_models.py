"""A collection that turns to another face model behind the same name, while clients search, enrol and delete."""

import shutil
import subprocess
import time
from pathlib import Path

import pytest
from asking import enrol, face_count, face_ids, search
from service import Service, binary, is_distributed, models
from test_rebuild import TENANT, Searching, begin_rebuild, end_rebuild, shown, until_it_lies_still, words

pytestmark = pytest.mark.moves

HALF = "sface-2021dec-half"


@pytest.fixture(scope="module")
def two_models(tmp_path_factory) -> Path:
    """A models directory with SFace, and a model made of it whose templates have half as many components."""
    folder = tmp_path_factory.mktemp("models")
    shutil.copytree(models(), folder / "models")
    maker = binary().parent / "examples/halved_model"
    subprocess.run([maker, models(), folder / "made"], check=True)
    files = ["--from", str(folder / "made"), "--manifest", str(folder / "made/manifest.toml")]
    subprocess.run([binary(), "models", "import", *files, "--models", folder / "models"], check=True)
    return folder / "models"


@pytest.fixture
def own(folder, two_models, monkeypatch):
    """A service that runs both."""
    monkeypatch.setenv("VIDIMUS_MODELS", str(two_models))
    started = Service(folder)
    started.environment["VIDIMUS__MODELS__OTHERS"] = f'["{HALF}"]'
    started.start()
    yield started
    started.close()


@pytest.fixture
def people(own, photos):
    """A client of a collection with two faces, one of them of a user, and one that was deleted."""
    client = own.client(own.new_tenant(TENANT))
    client.create_collection(CollectionId="people")
    [obama] = enrol(client, "people", photos.obama, "obama")
    [biden] = enrol(client, "people", photos.biden, "biden")
    [deleted] = enrol(client, "people", photos.obama2, "gone")
    client.delete_faces(CollectionId="people", FaceIds=[deleted])
    client.create_user(CollectionId="people", UserId="joe")
    client.associate_faces(CollectionId="people", UserId="joe", FaceIds=[biden])
    return client, obama, biden


def version(client) -> str:
    """The collection's face model version as clients see it."""
    return client.describe_collection(CollectionId="people")["FaceModelVersion"]


def test_a_collection_turns_to_another_face_model_while_clients_search(own, people, photos):
    client, obama, biden = people
    assert version(client) == "1.0"
    with Searching(client, photos, obama, biden):
        turned = end_rebuild(begin_rebuild(own, "--model", HALF))
    assert (turned["state"], turned["to"], turned["to_model"]) == ("done", HALF, HALF)
    assert version(client) == "2.0"
    assert own.admin("collection", "show", TENANT, "people")["face_model"] == HALF
    # Faces, their user and their photos are what they were, under their ids.
    assert sorted(face_ids(client, "people")) == sorted([obama, biden])
    assert search(client, "people", photos.obama2) == [obama]
    found = client.search_users(CollectionId="people", FaceId=obama, UserMatchThreshold=0)
    assert [match["User"]["UserId"] for match in found["UserMatches"]] == ["joe"]
    assert own.admin("reconcile", "--full")["differences"] == 0
    # What the same photo is enrolled to again is the same face: landmarks and boxes are those of before.
    assert enrol(client, "people", photos.biden, "biden") == [biden]
    if is_distributed():
        # Each move waits half a minute for Qdrant to have what it was told.
        return
    again = end_rebuild(begin_rebuild(own))
    assert (again["to"], again["to_model"]) == (f"{HALF}.2", HALF), "a rebuild stays with the model"
    back = end_rebuild(begin_rebuild(own, "--model", "sface-2021dec", "--own"))
    assert back["to"].startswith("sface-2021dec.") and back["to_model"] == "sface-2021dec"
    assert version(client) == "1.0"
    assert search(client, "people", photos.obama2) == [obama]
    assert face_count(client, "people") == 2


def test_what_breaks_off_is_brought_to_its_end(own, people, photos):
    client, obama, _ = people
    began = begin_rebuild(own, "--model", HALF)
    began.kill()
    began.communicate()
    own.stop()
    own.start()
    client = own.client(own.new_key(TENANT))
    assert search(client, "people", photos.obama2) == [obama]
    # It may have broken off before it began; else the service that was started goes on with it by itself.
    until_it_lies_still(own)
    if own.admin("collection", "show", TENANT, "people")["face_model"] != HALF:
        turned = end_rebuild(begin_rebuild(own, "--model", HALF))
        assert turned["to_model"] == HALF
    assert shown(own)[1] == "no"
    assert search(client, "people", photos.obama2) == [obama]


def test_where_photos_are_gone_it_says_that_it_cannot(own, people, photos):
    client, obama, biden = people
    own.admin("collection", "set-retention", TENANT, "people", "--photos", "1s")
    time.sleep(1.1)
    refused = own.admin_refusal(*words("--model", HALF))
    assert "2 faces of 2 records have no photo" in refused and "cannot be done" in refused
    placement, moving = shown(own)
    assert (placement, moving) == ("sface-2021dec", "no")
    assert version(client) == "1.0"
    assert search(client, "people", photos.obama2) == [obama]
    assert sorted(face_ids(client, "people")) == sorted([obama, biden])


def test_a_model_that_the_service_does_not_run_is_refused(own, people):
    assert "arcface" in own.admin_refusal(*words("--model", "arcface"))
    assert "cannot be used with" in own.admin_refusal(*words("--model", HALF, "--cancel"))

