"""What was acknowledged is there after an end, an orderly one or not."""

import signal
import subprocess

import pytest
from asking import enrol, face_ids, refusal, search
from service import Service


@pytest.fixture
def own(folder):
    """A service for one test, which may end it."""
    started = Service(folder)
    started.start()
    yield started
    started.close()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=lambda how: how.name)
def test_everything_is_searchable_after_a_restart(own, photos, how):
    key = own.new_tenant("first")
    client = own.client(key)
    client.create_collection(CollectionId="people")
    [kept] = enrol(client, "people", photos.obama, "obama")
    [deleted] = enrol(client, "people", photos.biden, "biden")
    client.delete_faces(CollectionId="people", FaceIds=[deleted])

    status = own.stop(how)
    assert status == (0 if how == signal.SIGTERM else -signal.SIGKILL)
    own.start()

    client = own.client(key)
    assert client.list_collections()["CollectionIds"] == ["people"]
    assert face_ids(client, "people") == [kept]
    assert search(client, "people", photos.obama2) == [kept]
    assert search(client, "people", photos.biden, FaceMatchThreshold=0) == [kept]
    assert enrol(client, "people", photos.obama, "obama") == [kept]
    [again] = enrol(client, "people", photos.biden, "biden")
    assert again != deleted
    assert search(client, "people", photos.biden) == [again]


@pytest.mark.parametrize("lost", [["index"], ["log"], ["index", "log"]], ids="+".join)
def test_a_lost_index_or_log_is_made_again_before_it_is_searched(own, photos, lost):
    key = own.new_tenant("first")
    client = own.client(key)
    client.create_collection(CollectionId="people")
    [kept] = enrol(client, "people", photos.obama, "obama")
    [deleted] = enrol(client, "people", photos.biden, "biden")
    client.delete_faces(CollectionId="people", FaceIds=[deleted])
    assert own.stop() == 0

    for part in lost:
        own.lose(part)
    own.start()

    client = own.client(key)
    assert search(client, "people", photos.obama2) == [kept]
    assert search(client, "people", photos.biden, FaceMatchThreshold=0) == [kept]
    assert face_ids(client, "people") == [kept]


def test_a_damaged_record_stops_nothing_else(own, photos):
    key = own.new_tenant("first")
    client = own.client(key)
    client.create_collection(CollectionId="people")
    enrol(client, "people", photos.biden, "biden")
    [record] = [key for key in own.stored() if "records" in key.split("/")]
    assert own.stop() == 0
    own.write_object(record, own.read_object(record)[:-1])
    own.lose("index")
    own.start()

    client = own.client(key)
    [face] = enrol(client, "people", photos.obama, "obama")
    assert search(client, "people", photos.obama2) == [face]
    client.delete_faces(CollectionId="people", FaceIds=[face])
    assert search(client, "people", photos.obama2) == []


def test_a_restart_keeps_keys_disabled(own):
    key = own.new_tenant("first")
    own.admin("key", "disable", key.access_key_id)
    own.stop()
    own.start()
    assert refusal(own.client(key).list_collections) == "UnrecognizedClientException"


@pytest.mark.embedded
def test_a_second_service_on_the_directory_is_refused_with_the_reason(own):
    second = subprocess.run(own.serve_command(), capture_output=True, text=True, timeout=60, check=False)
    assert second.returncode not in (0, -signal.SIGKILL)
    said = second.stdout + second.stderr
    assert str(own.data) in said
    assert "in use" in said or "another process" in said, said
    assert own.operators_page("/livez")[0] == 200


@pytest.mark.embedded
def test_keys_can_be_made_while_no_service_runs(own):
    own.stop()
    key = own.new_tenant("offline")
    own.start()
    assert own.client(key).list_collections()["CollectionIds"] == []
