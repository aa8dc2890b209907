"""Enrolling twice, deleting twice, listing by pages."""

import uuid

import pytest
from asking import enrol, face_count, face_ids, refusal, search

UNKNOWN_FACE = "11111111-2222-4333-8444-555555550001"


def test_the_same_photo_with_the_same_name_is_the_same_face(service, client, collection, photos):
    first = enrol(client, collection, photos.obama, "obama")
    stored = service.stored()
    assert enrol(client, collection, photos.obama, "obama") == first
    assert service.stored() == stored
    assert face_ids(client, collection) == first


def test_the_same_photo_with_another_name_is_another_face(client, collection, photos):
    first = enrol(client, collection, photos.obama, "obama")
    second = enrol(client, collection, photos.obama, "barack")
    assert first != second
    assert sorted(face_ids(client, collection)) == sorted(first + second)


def test_the_same_photo_without_a_name_is_a_new_face_each_time(client, collection, photos):
    first = enrol(client, collection, photos.obama)
    second = enrol(client, collection, photos.obama)
    assert first != second
    assert face_count(client, collection) == 2
    assert sorted(search(client, collection, photos.obama2)) == sorted(first + second)


def test_a_photo_has_another_face_id_in_each_collection(client, collection, photos):
    client.create_collection(CollectionId=f"{collection}-other")
    first = enrol(client, collection, photos.obama, "obama")
    assert enrol(client, f"{collection}-other", photos.obama, "obama") != first


def test_a_deleted_photo_that_is_enrolled_again_is_a_new_face(client, collection, photos):
    [old] = enrol(client, collection, photos.obama, "obama")
    client.delete_faces(CollectionId=collection, FaceIds=[old])
    assert search(client, collection, photos.obama) == []
    [new] = enrol(client, collection, photos.obama, "obama")
    assert new != old
    assert search(client, collection, photos.obama) == [new]
    assert client.delete_faces(CollectionId=collection, FaceIds=[old])["DeletedFaces"] == [old]
    assert face_ids(client, collection) == [new]


def test_deleting_twice_is_as_deleting_once(client, collection, photos):
    [face] = enrol(client, collection, photos.obama, "obama")
    for _ in range(2):
        answer = client.delete_faces(CollectionId=collection, FaceIds=[face])
        assert answer["DeletedFaces"] == [face]
        assert answer["UnsuccessfulFaceDeletions"] == []


def test_an_unknown_face_is_reported(client, collection, photos):
    [face] = enrol(client, collection, photos.obama)
    answer = client.delete_faces(CollectionId=collection, FaceIds=[UNKNOWN_FACE, face])
    assert answer["DeletedFaces"] == [face]
    [left] = answer["UnsuccessfulFaceDeletions"]
    assert left["FaceId"] == UNKNOWN_FACE
    assert left["Reasons"] == ["FACE_NOT_FOUND"]


def test_a_search_by_a_face_that_is_not_there_is_refused(client, collection, photos):
    [face] = enrol(client, collection, photos.obama)
    client.delete_faces(CollectionId=collection, FaceIds=[face])
    for gone in [face, UNKNOWN_FACE]:
        code = refusal(client.search_faces, CollectionId=collection, FaceId=gone)
        assert code == "InvalidParameterException"


def test_faces_are_listed_by_pages(client, collection, photos):
    enrolled = {face for _ in range(5) for face in enrol(client, collection, photos.biden)}
    seen, sizes, token = [], [], {}
    while True:
        page = client.list_faces(CollectionId=collection, MaxResults=2, **token)
        seen += [face["FaceId"] for face in page["Faces"]]
        sizes.append(len(page["Faces"]))
        if "NextToken" not in page:
            break
        token = {"NextToken": page["NextToken"]}
    assert len(seen) == 5 and set(seen) == enrolled
    assert max(sizes) == 2
    assert len(client.list_faces(CollectionId=collection, MaxResults=0)["Faces"]) == 5


def test_faces_are_listed_by_their_ids(client, collection, photos):
    [face] = enrol(client, collection, photos.obama, "obama")
    enrol(client, collection, photos.biden, "biden")
    [listed] = client.list_faces(CollectionId=collection, FaceIds=[face, UNKNOWN_FACE])["Faces"]
    assert listed["FaceId"] == face and listed["ExternalImageId"] == "obama"


@pytest.mark.parametrize("token", ["x", "AAAA", str(uuid.uuid4())])
def test_a_made_up_page_token_is_refused(client, collection, token):
    ask = {"CollectionId": collection, "NextToken": token}
    assert refusal(client.list_faces, **ask) == "InvalidPaginationTokenException"


def test_a_page_token_is_good_for_its_collection_alone(client, collection, photos):
    for _ in range(2):
        enrol(client, collection, photos.biden)
    token = client.list_faces(CollectionId=collection, MaxResults=1)["NextToken"]
    client.create_collection(CollectionId=f"{collection}-other")
    ask = {"CollectionId": f"{collection}-other", "NextToken": token}
    assert refusal(client.list_faces, **ask) == "InvalidPaginationTokenException"


BROKEN = {
    "a name with a slash": {"CollectionId": "a/b"},
    "a name that is too long": {"CollectionId": "a" * 256},
    "an external image id with a space": {"ExternalImageId": "a b"},
    "no faces at all": {"MaxFaces": 0},
    "an unknown quality filter": {"QualityFilter": "BEST"},
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_constraint_is_named(service, key, collection, photos, name):
    unchecked = service.client(key, validate=False)
    before = service.stored()
    ask = {"CollectionId": collection, "Image": {"Bytes": photos.obama}, **BROKEN[name]}
    assert refusal(unchecked.index_faces, **ask) == "InvalidParameterException"
    assert service.stored() == before


def test_many_faces_are_deleted_at_once(client, collection, photos):
    faces = [face for _ in range(4) for face in enrol(client, collection, photos.obama)]
    answer = client.delete_faces(CollectionId=collection, FaceIds=faces)
    assert sorted(answer["DeletedFaces"]) == sorted(faces)
    assert search(client, collection, photos.obama, FaceMatchThreshold=0) == []
