"""Users: groups of faces of one person, through boto3."""

import pytest
from asking import enrol, refusal

pytestmark = pytest.mark.shared


def face_ids(client, collection: str, photo: bytes, **more) -> list[str]:
    """Enrols every face of a photo; their ids, the largest first."""
    answer = client.index_faces(CollectionId=collection, Image={"Bytes": photo}, QualityFilter="NONE", **more)
    return [record["Face"]["FaceId"] for record in answer["FaceRecords"]]


def statuses(client, collection: str) -> dict[str, str]:
    """Every user with its status."""
    pages = client.get_paginator("list_users").paginate(CollectionId=collection, PaginationConfig={"PageSize": 2})
    return {user["UserId"]: user["UserStatus"] for page in pages for user in page["Users"]}


def test_a_user_is_made_filled_found_emptied_and_deleted(client, collection: str, photos) -> None:
    for name in ("ada", "bob", "eve"):
        client.create_user(CollectionId=collection, UserId=name)
    assert statuses(client, collection) == {"ada": "CREATED", "bob": "CREATED", "eve": "CREATED"}
    [first] = face_ids(client, collection, photos.obama, ExternalImageId="1")
    [second] = face_ids(client, collection, photos.obama2, ExternalImageId="2")
    done = client.associate_faces(CollectionId=collection, UserId="ada", FaceIds=[first, second])
    assert {face["FaceId"] for face in done["AssociatedFaces"]} == {first, second}
    assert done["UnsuccessfulFaceAssociations"] == [] and done["UserStatus"] == "ACTIVE"
    assert statuses(client, collection)["ada"] == "ACTIVE"
    described = client.describe_collection(CollectionId=collection)
    assert (described["FaceCount"], described["UserCount"]) == (2, 3)
    found = client.search_users_by_image(CollectionId=collection, Image={"Bytes": photos.obama3})
    assert [match["User"]["UserId"] for match in found["UserMatches"]] == ["ada"]
    assert found["SearchedFace"]["FaceDetail"]["Confidence"] > 50
    by_face = client.search_users(CollectionId=collection, FaceId=first)
    assert [match["User"]["UserId"] for match in by_face["UserMatches"]] == ["ada"]
    assert by_face["SearchedFace"]["FaceId"] == first
    listed = client.list_faces(CollectionId=collection, UserId="ada")["Faces"]
    assert {face["FaceId"] for face in listed} == {first, second}
    assert all(face["UserId"] == "ada" for face in listed)
    kept = client.delete_faces(CollectionId=collection, FaceIds=[first])["UnsuccessfulFaceDeletions"]
    assert kept[0]["Reasons"] == ["ASSOCIATED_TO_AN_EXISTING_USER"] and kept[0]["UserId"] == "ada"
    taken = client.disassociate_faces(CollectionId=collection, UserId="ada", FaceIds=[first])
    assert [face["FaceId"] for face in taken["DisassociatedFaces"]] == [first]
    assert client.delete_faces(CollectionId=collection, FaceIds=[first])["DeletedFaces"] == [first]
    client.delete_user(CollectionId=collection, UserId="ada")
    assert set(statuses(client, collection)) == {"bob", "eve"}
    assert client.search_users(CollectionId=collection, FaceId=second)["UserMatches"] == []
    assert client.delete_faces(CollectionId=collection, FaceIds=[second])["DeletedFaces"] == [second]


def test_what_a_user_refuses(client, collection: str, photos) -> None:
    client.create_user(CollectionId=collection, UserId="ada")
    client.create_user(CollectionId=collection, UserId="bob")
    [face] = face_ids(client, collection, photos.obama)
    [stranger] = face_ids(client, collection, photos.astronaut)
    unknown = "00000000-0000-4000-8000-000000000001"
    client.associate_faces(CollectionId=collection, UserId="ada", FaceIds=[face])
    answer = client.associate_faces(CollectionId=collection, UserId="ada", FaceIds=[stranger, unknown])
    reasons = {one["FaceId"]: one["Reasons"] for one in answer["UnsuccessfulFaceAssociations"]}
    assert reasons == {stranger: ["LOW_MATCH_CONFIDENCE"], unknown: ["FACE_NOT_FOUND"]}
    unlike = next(one for one in answer["UnsuccessfulFaceAssociations"] if one["FaceId"] == stranger)
    assert 0 <= unlike["Confidence"] < 75
    answer = client.associate_faces(CollectionId=collection, UserId="bob", FaceIds=[face])
    assert answer["UnsuccessfulFaceAssociations"][0]["Reasons"] == ["ASSOCIATED_TO_A_DIFFERENT_USER"]
    assert answer["UnsuccessfulFaceAssociations"][0]["UserId"] == "ada"
    for error, call, request in [
        ("ConflictException", client.create_user, {"UserId": "ada"}),
        ("ResourceNotFoundException", client.delete_user, {"UserId": "nobody"}),
        ("ResourceNotFoundException", client.associate_faces, {"UserId": "nobody", "FaceIds": [face]}),
        ("ResourceNotFoundException", client.search_users, {"UserId": "nobody"}),
        ("ResourceNotFoundException", client.list_faces, {"UserId": "nobody"}),
        ("InvalidParameterException", client.search_users, {}),
        ("InvalidParameterException", client.search_users, {"UserId": "ada", "FaceId": face}),
    ]:
        assert refusal(call, CollectionId=collection, **request) == error


def test_tokens_make_a_retry_the_same_request(client, collection: str) -> None:
    again = {"CollectionId": collection, "UserId": "ada", "ClientRequestToken": "token-1"}
    client.create_user(**again)
    client.create_user(**again)
    other = again | {"UserId": "bob"}
    assert refusal(client.create_user, **other) == "IdempotentParameterMismatchException"
    gone = again | {"ClientRequestToken": "token-2"}
    client.delete_user(**gone)
    client.delete_user(**gone)
    assert refusal(client.delete_user, CollectionId=collection, UserId="ada") == "ResourceNotFoundException"


def test_a_photo_without_a_face_finds_no_user(client, collection: str, photos) -> None:
    enrol(client, collection, photos.obama)
    found = client.search_users_by_image(CollectionId=collection, Image={"Bytes": blank()})
    assert found["UserMatches"] == [] and "SearchedFace" not in found
    with pytest.raises(client.exceptions.InvalidParameterException):
        client.search_faces_by_image(CollectionId=collection, Image={"Bytes": blank()})


def blank() -> bytes:
    """A grey photo."""
    import io

    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", (200, 200), (120, 120, 120)).save(out, "JPEG")
    return out.getvalue()
