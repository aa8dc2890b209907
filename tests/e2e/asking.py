"""Short forms of what many tests ask, and of how it is refused."""

from collections.abc import Callable

from botocore.exceptions import ClientError


def enrol(client, collection: str, photo: bytes, external_image_id: str | None = None) -> list[str]:
    """Enrols a photo; the ids of its faces."""
    named = {"ExternalImageId": external_image_id} if external_image_id else {}
    answer = client.index_faces(CollectionId=collection, Image={"Bytes": photo}, **named)
    return [record["Face"]["FaceId"] for record in answer["FaceRecords"]]


def search(client, collection: str, photo: bytes, **more) -> list[str]:
    """Searches with a photo; the ids of the candidates, best first."""
    answer = client.search_faces_by_image(CollectionId=collection, Image={"Bytes": photo}, **more)
    return [match["Face"]["FaceId"] for match in answer["FaceMatches"]]


def face_ids(client, collection: str) -> list[str]:
    """The ids of a collection's faces."""
    pages = client.get_paginator("list_faces").paginate(CollectionId=collection)
    return [face["FaceId"] for page in pages for face in page["Faces"]]


def face_count(client, collection: str) -> int:
    """How many faces the collection says that it has."""
    return client.describe_collection(CollectionId=collection)["FaceCount"]


def refusal(ask: Callable[..., object], **arguments) -> str:
    """Asks for what must be refused; the error's code."""
    try:
        answer = ask(**arguments)
    except ClientError as error:
        return error.response["Error"]["Code"]
    raise AssertionError(f"it was not refused: {answer}")
