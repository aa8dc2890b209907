"""Users: who belongs to whom, and what is found of whom."""

import pytest
from asking import enrol, face_count, refusal

pytestmark = pytest.mark.shared

UNKNOWN_FACE = "11111111-2222-4333-8444-555555550001"


def shown_users(client, collection) -> dict[str, str | None]:
    """The collection's faces with the user that each shows."""
    faces = client.list_faces(CollectionId=collection)["Faces"]
    return {face["FaceId"]: face.get("UserId") for face in faces}


def found(answer) -> list[str]:
    """The users of a search's answer, best first."""
    return [match["User"]["UserId"] for match in answer["UserMatches"]]


def test_users_are_created_listed_and_deleted(client, collection):
    for user in ["anna", "bert"]:
        assert "Error" not in client.create_user(CollectionId=collection, UserId=user)
    assert refusal(lambda: client.create_user(CollectionId=collection, UserId="anna")) == "ConflictException"
    users = client.list_users(CollectionId=collection)["Users"]
    assert sorted((user["UserId"], user["UserStatus"]) for user in users) == [("anna", "CREATED"), ("bert", "CREATED")]
    assert client.describe_collection(CollectionId=collection)["UserCount"] == 2
    pages = client.get_paginator("list_users").paginate(CollectionId=collection, PaginationConfig={"PageSize": 1})
    assert sorted(user["UserId"] for page in pages for user in page["Users"]) == ["anna", "bert"]
    client.delete_user(CollectionId=collection, UserId="anna")
    assert refusal(lambda: client.delete_user(CollectionId=collection, UserId="anna")) == "ResourceNotFoundException"
    assert [user["UserId"] for user in client.list_users(CollectionId=collection)["Users"]] == ["bert"]
    client.create_user(CollectionId=collection, UserId="anna")


def test_a_token_stands_for_one_request(client, collection):
    def create(user: str) -> None:
        client.create_user(CollectionId=collection, UserId=user, ClientRequestToken="token")

    create("anna")
    create("anna")
    assert refusal(lambda: create("bert")) == "IdempotentParameterMismatchException"


def test_faces_join_a_user_that_they_are_like(client, collection, photos):
    [one] = enrol(client, collection, photos.obama)
    [two] = enrol(client, collection, photos.obama2)
    [other] = enrol(client, collection, photos.biden)
    client.create_user(CollectionId=collection, UserId="barack")
    answer = client.associate_faces(CollectionId=collection, UserId="barack", FaceIds=[one, two, other, UNKNOWN_FACE])
    assert [face["FaceId"] for face in answer["AssociatedFaces"]] == [one, two]
    assert answer["UserStatus"] == "ACTIVE"
    reasons = {face["FaceId"]: face["Reasons"] for face in answer["UnsuccessfulFaceAssociations"]}
    assert reasons == {other: ["LOW_MATCH_CONFIDENCE"], UNKNOWN_FACE: ["FACE_NOT_FOUND"]}
    client.create_user(CollectionId=collection, UserId="joe")
    answer = client.associate_faces(CollectionId=collection, UserId="joe", FaceIds=[other, one])
    assert [face["FaceId"] for face in answer["AssociatedFaces"]] == [other]
    [refused] = answer["UnsuccessfulFaceAssociations"]
    assert (refused["Reasons"], refused["UserId"]) == (["ASSOCIATED_TO_A_DIFFERENT_USER"], "barack")
    assert shown_users(client, collection) == {one: "barack", two: "barack", other: "joe"}
    own = client.list_faces(CollectionId=collection, UserId="barack")["Faces"]
    assert sorted(face["FaceId"] for face in own) == sorted([one, two])


def test_users_are_found_by_face_by_user_and_by_photo(client, collection, photos):
    [one] = enrol(client, collection, photos.obama)
    [probe] = enrol(client, collection, photos.obama3)
    [other] = enrol(client, collection, photos.biden)
    for user, face in [("barack", one), ("joe", other)]:
        client.create_user(CollectionId=collection, UserId=user)
        client.associate_faces(CollectionId=collection, UserId=user, FaceIds=[face])
    answer = client.search_users(CollectionId=collection, FaceId=probe)
    assert (found(answer), answer["SearchedFace"]["FaceId"]) == (["barack"], probe)
    assert answer["UserMatches"][0]["Similarity"] >= 80
    assert found(client.search_users(CollectionId=collection, UserId="barack")) == []
    answer = client.search_users(CollectionId=collection, UserId="barack", UserMatchThreshold=0)
    assert (found(answer), answer["SearchedUser"]["UserId"]) == (["joe"], "barack")
    answer = client.search_users_by_image(CollectionId=collection, Image={"Bytes": photos.obama2})
    assert found(answer) == ["barack"]
    assert answer["SearchedFace"]["FaceDetail"]["Confidence"] > 90
    unknown = lambda: client.search_users(CollectionId=collection, UserId="nobody")
    assert refusal(unknown) == "ResourceNotFoundException"


def test_a_held_face_stays_until_it_leaves_its_user(client, collection, photos):
    faces = enrol(client, collection, photos.obama) + enrol(client, collection, photos.obama2)
    client.create_user(CollectionId=collection, UserId="barack")
    client.associate_faces(CollectionId=collection, UserId="barack", FaceIds=faces)
    answer = client.delete_faces(CollectionId=collection, FaceIds=faces[:1])
    [refused] = answer["UnsuccessfulFaceDeletions"]
    assert (refused["Reasons"], refused["UserId"]) == (["ASSOCIATED_TO_AN_EXISTING_USER"], "barack")
    answer = client.disassociate_faces(CollectionId=collection, UserId="barack", FaceIds=faces[:1])
    assert [face["FaceId"] for face in answer["DisassociatedFaces"]] == faces[:1]
    assert shown_users(client, collection) == {faces[0]: None, faces[1]: "barack"}
    assert client.delete_faces(CollectionId=collection, FaceIds=faces[:1])["DeletedFaces"] == faces[:1]
    client.delete_user(CollectionId=collection, UserId="barack")
    assert shown_users(client, collection) == {faces[1]: None}
    assert client.delete_faces(CollectionId=collection, FaceIds=faces[1:])["DeletedFaces"] == faces[1:]
    assert face_count(client, collection) == 0
