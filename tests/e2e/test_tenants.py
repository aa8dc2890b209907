"""Two tenants with the same names and the same photos see nothing of each other, and what administrators make for tenants."""

import subprocess
import time

import pytest
from asking import enrol, face_ids, refusal, search
from service import binary

NAME = "people"
DROPPED_SECONDS_MAX = 30


@pytest.fixture(scope="module")
def tenants(service, photos):
    """Two tenants, each with a collection of the same name and a face in it."""
    made = []
    for tenant, photo in [("north", photos.obama), ("south", photos.biden)]:
        client = service.client(service.new_tenant(tenant))
        client.create_collection(CollectionId=NAME)
        [face] = enrol(client, NAME, photo, "person")
        made.append((client, face))
    return made


def test_each_lists_and_finds_its_own(tenants, photos):
    for client, face in tenants:
        assert client.list_collections()["CollectionIds"] == [NAME]
        assert face_ids(client, NAME) == [face]
        assert client.describe_collection(CollectionId=NAME)["FaceCount"] == 1
        for photo in [photos.obama, photos.biden]:
            assert search(client, NAME, photo, FaceMatchThreshold=0) == [face]


def test_a_face_id_of_another_tenant_is_unknown(tenants):
    (north, north_face), (south, south_face) = tenants
    for client, foreign in [(north, south_face), (south, north_face)]:
        code = refusal(client.search_faces, CollectionId=NAME, FaceId=foreign)
        assert code == "InvalidParameterException"
        assert client.list_faces(CollectionId=NAME, FaceIds=[foreign])["Faces"] == []
        answer = client.delete_faces(CollectionId=NAME, FaceIds=[foreign])
        assert answer["DeletedFaces"] == []
        assert answer["UnsuccessfulFaceDeletions"][0]["Reasons"] == ["FACE_NOT_FOUND"]
    assert face_ids(north, NAME) == [north_face]
    assert face_ids(south, NAME) == [south_face]


def test_a_page_token_of_another_tenant_is_refused(service, tenants, photos):
    clients = [service.client(service.new_tenant(name)) for name in ["east", "west"]]
    for client in clients:
        for name in ["one", "two", NAME]:
            client.create_collection(CollectionId=name)
        enrol(client, NAME, photos.obama)
        enrol(client, NAME, photos.obama)
    east, west = clients
    faces = east.list_faces(CollectionId=NAME, MaxResults=1)["NextToken"]
    ask = {"CollectionId": NAME, "NextToken": faces}
    assert refusal(west.list_faces, **ask) == "InvalidPaginationTokenException"
    collections = east.list_collections(MaxResults=1)["NextToken"]
    assert refusal(west.list_collections, NextToken=collections) == "InvalidPaginationTokenException"


def test_account_numbers_differ(tenants):
    arns = [client.describe_collection(CollectionId=NAME)["CollectionARN"] for client, _ in tenants]
    accounts = [arn.split(":")[4] for arn in arns]
    assert accounts[0] != accounts[1]
    assert all(len(account) == 12 and account.isdigit() for account in accounts)


def test_a_disabled_tenant_is_refused_until_it_is_enabled(service, photos):
    client = service.client(service.new_tenant("paused"))
    client.create_collection(CollectionId=NAME)
    [face] = enrol(client, NAME, photos.obama)
    service.admin("tenant", "disable", "paused")
    code = refusal(client.list_faces, CollectionId=NAME)
    assert code in {"UnrecognizedClientException", "AccessDeniedException"}
    service.admin("tenant", "enable", "paused")
    assert face_ids(client, NAME) == [face]


def test_a_tenant_is_deleted_when_it_has_no_collections(service):
    client = service.client(service.new_tenant("leaving"))
    client.create_collection(CollectionId=NAME)
    assert "collection" in service.admin_refusal("tenant", "delete", "leaving")
    assert client.list_collections()["CollectionIds"] == [NAME]
    client.delete_collection(CollectionId=NAME)
    service.admin("tenant", "delete", "leaving")
    assert refusal(client.list_collections) == "UnrecognizedClientException"


def test_a_tenant_is_made_once(service):
    service.new_tenant("single")
    assert "exist" in service.admin_refusal("tenant", "create", "single")


def test_tenants_and_keys_are_listed_without_secrets(service):
    key = service.new_tenant("listed")
    assert "listed" in {tenant["name"] for tenant in service.admin("tenant", "list")}
    [shown] = service.admin("key", "list", "listed")
    assert shown["access_key_id"] == key.access_key_id
    assert key.secret_access_key not in str(shown)


def test_a_large_collection_has_an_index_collection_of_its_own(service, photos):
    client = service.client(service.new_tenant("owner"))
    made = service.admin("collection", "create", "owner", "large", "--large")
    assert service.admin("collection", "create", "owner", "small")["placement"] == made["face_model"]
    placement = made["placement"]
    assert placement.startswith(f"{made['face_model']}.") and len(placement) > len(made["face_model"]) + 30
    [face] = enrol(client, "large", photos.obama)
    assert search(client, "large", photos.obama2) == [face]
    assert search(client, "small", photos.obama2) == []
    assert placement in service.index_collections()
    assert "already" in service.admin_refusal("collection", "create", "owner", "large")
    client.delete_collection(CollectionId="large")
    deadline = time.monotonic() + DROPPED_SECONDS_MAX
    while placement in service.index_collections():
        assert time.monotonic() < deadline, "it is dropped with its collection"
        service.admin("reconcile", "--full")
