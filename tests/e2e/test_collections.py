"""Collections: made, described, listed, deleted."""

import datetime

import pytest
from asking import enrol, face_ids, refusal, search

pytestmark = pytest.mark.shared


def test_a_collection_is_described(client, collection, photos):
    enrol(client, collection, photos.obama)
    described = client.describe_collection(CollectionId=collection)
    assert described["FaceCount"] == 1
    assert described["FaceModelVersion"] == "1.0"
    assert described["CollectionARN"].startswith("arn:aws:rekognition:eu-central-1:")
    assert described["CollectionARN"].endswith(f":collection/{collection}")
    age = datetime.datetime.now(datetime.UTC) - described["CreationTimestamp"]
    assert abs(age) < datetime.timedelta(minutes=5)


def test_a_name_is_given_once(client, collection):
    code = refusal(client.create_collection, CollectionId=collection)
    assert code == "ResourceAlreadyExistsException"


def test_names_know_upper_and_lower_case(client, collection):
    client.create_collection(CollectionId=collection.upper())
    names = client.list_collections()["CollectionIds"]
    assert {collection, collection.upper()} <= set(names)


def test_collections_are_listed_by_pages(service):
    client = service.client(service.new_tenant("lister"))
    made = {f"page-{number}" for number in range(5)}
    for name in made:
        client.create_collection(CollectionId=name)
    seen, token = [], {}
    while True:
        page = client.list_collections(MaxResults=2, **token)
        assert len(page["CollectionIds"]) == len(page["FaceModelVersions"]) <= 2
        seen += page["CollectionIds"]
        if "NextToken" not in page:
            break
        assert len(page["NextToken"]) <= 255
        token = {"NextToken": page["NextToken"]}
    assert len(seen) == 5 and set(seen) == made
    assert refusal(client.list_collections, NextToken="x") == "InvalidPaginationTokenException"


def test_a_deleted_collection_is_gone_with_its_faces(client, collection, photos):
    [face] = enrol(client, collection, photos.obama, "obama")
    assert client.delete_collection(CollectionId=collection)["StatusCode"] == 200
    assert collection not in client.list_collections()["CollectionIds"]
    image = {"Bytes": photos.obama}
    for ask, arguments in [
        (client.describe_collection, {}),
        (client.delete_collection, {}),
        (client.list_faces, {}),
        (client.index_faces, {"Image": image}),
        (client.search_faces_by_image, {"Image": image}),
        (client.search_faces, {"FaceId": face}),
        (client.delete_faces, {"FaceIds": [face]}),
    ]:
        assert refusal(ask, CollectionId=collection, **arguments) == "ResourceNotFoundException"


def test_a_name_that_is_used_again_begins_empty(client, collection, photos):
    [old] = enrol(client, collection, photos.obama, "obama")
    client.delete_collection(CollectionId=collection)
    client.create_collection(CollectionId=collection)
    assert face_ids(client, collection) == []
    assert search(client, collection, photos.obama, FaceMatchThreshold=0) == []
    [new] = enrol(client, collection, photos.obama, "obama")
    assert new != old


@pytest.mark.parametrize("name", ["", "a/b", "a b", "a" * 256, "ä"])
def test_a_name_that_is_none_is_refused(service, key, name):
    unchecked = service.client(key, validate=False)
    assert refusal(unchecked.create_collection, CollectionId=name) == "InvalidParameterException"
