"""The main job, on real photos, with boto3 as it comes."""

import pytest
from asking import face_ids, search

pytestmark = pytest.mark.shared


@pytest.fixture(scope="module")
def gallery(client, photos) -> dict[str, str]:
    """A collection of two people; the face id of each."""
    created = client.create_collection(CollectionId="people")
    assert created["StatusCode"] == 200
    assert created["CollectionArn"].endswith(":collection/people")
    assert created["FaceModelVersion"] == "1.0"
    ids = {}
    for name in ["obama", "biden"]:
        answer = client.index_faces(
            CollectionId="people", Image={"Bytes": getattr(photos, name)}, ExternalImageId=name
        )
        [record] = answer["FaceRecords"]
        assert answer["UnindexedFaces"] == []
        assert record["Face"]["ExternalImageId"] == name
        assert record["Face"]["Confidence"] > 60
        ids[name] = record["Face"]["FaceId"]
    return ids


def test_an_enrolled_face_is_described(client, gallery, photos):
    answer = client.list_faces(CollectionId="people")
    assert {face["FaceId"]: face["ExternalImageId"] for face in answer["Faces"]} == {
        gallery["obama"]: "obama",
        gallery["biden"]: "biden",
    }
    for face in answer["Faces"]:
        box = face["BoundingBox"]
        assert 0 < box["Width"] < 1 and 0 < box["Height"] < 1
        assert 0 <= box["Left"] < 1 and 0 <= box["Top"] < 1
    described = client.describe_collection(CollectionId="people")
    assert described["FaceCount"] == 2
    assert described["FaceModelVersion"] == "1.0"


def test_another_photo_finds_its_person_alone(client, gallery, photos):
    answer = client.search_faces_by_image(CollectionId="people", Image={"Bytes": photos.obama2})
    [match] = answer["FaceMatches"]
    assert match["Face"]["FaceId"] == gallery["obama"]
    assert match["Face"]["ExternalImageId"] == "obama"
    assert match["Similarity"] >= 80
    assert answer["SearchedFaceConfidence"] > 60
    assert 0 < answer["SearchedFaceBoundingBox"]["Width"] < 1


def test_candidates_are_sorted_and_limited(client, gallery, photos):
    answer = client.search_faces_by_image(
        CollectionId="people", Image={"Bytes": photos.obama2}, FaceMatchThreshold=0
    )
    similarities = [match["Similarity"] for match in answer["FaceMatches"]]
    assert len(similarities) == 2
    assert similarities == sorted(similarities, reverse=True)
    best = search(client, "people", photos.obama2, FaceMatchThreshold=0, MaxFaces=1)
    assert best == [gallery["obama"]]
    assert search(client, "people", photos.obama2, FaceMatchThreshold=100) == []


def test_a_stored_face_finds_others_but_not_itself(client, gallery):
    answer = client.search_faces(
        CollectionId="people", FaceId=gallery["obama"], FaceMatchThreshold=0
    )
    assert answer["SearchedFaceId"] == gallery["obama"]
    assert [match["Face"]["FaceId"] for match in answer["FaceMatches"]] == [gallery["biden"]]


def test_a_stranger_is_not_found(client, gallery, photos):
    assert search(client, "people", photos.astronaut) == []


def test_a_deleted_face_is_gone(client, photos):
    client.create_collection(CollectionId="leaving")
    answer = client.index_faces(CollectionId="leaving", Image={"Bytes": photos.biden})
    [face] = [record["Face"]["FaceId"] for record in answer["FaceRecords"]]
    assert search(client, "leaving", photos.biden) == [face]
    assert client.delete_faces(CollectionId="leaving", FaceIds=[face])["DeletedFaces"] == [face]
    assert search(client, "leaving", photos.biden, FaceMatchThreshold=0) == []
    assert face_ids(client, "leaving") == []
    assert client.describe_collection(CollectionId="leaving")["FaceCount"] == 0


def test_an_answer_says_what_its_threshold_means(client, gallery, photos):
    answer = client.search_faces_by_image(CollectionId="people", Image={"Bytes": photos.obama2})
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    assert float(headers["x-vidimus-fmr"]) == pytest.approx(1e-4, rel=0.01)
    assert float(headers["x-vidimus-expected-strangers"]) == pytest.approx(2e-4, rel=0.01)
    assert headers["x-vidimus-extrapolated"] == "false"
    assert answer["ResponseMetadata"]["RequestId"]
