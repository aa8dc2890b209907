"""A disk without room: writes are refused with a hint, search and deletion go on."""

from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from service import EmbeddedService

pytestmark = pytest.mark.embedded

# More than any disk has: the reserve that enrolments leave free is never there.
NO_ROOM = str(2**60)


@pytest.fixture
def full(folder: Path, photos, monkeypatch: pytest.MonkeyPatch):
    """A service with two enrolled faces that then finds its disk full: its client and the faces."""
    service = EmbeddedService(folder)
    service.start()
    try:
        key = service.new_tenant("first")
        client = service.client(key)
        client.create_collection(CollectionId="staff")
        faces = []
        for name, photo in [("obama", photos.obama), ("biden", photos.biden)]:
            answer = client.index_faces(CollectionId="staff", Image={"Bytes": photo}, ExternalImageId=name)
            faces.append(answer["FaceRecords"][0]["Face"]["FaceId"])
        assert service.stop() == 0
        monkeypatch.setenv("VIDIMUS__STORAGE__RESERVE_BYTES", NO_ROOM)
        service.start()
        yield service, service.client(key), faces
    finally:
        service.close()


def test_writes_are_refused_and_search_and_deletion_go_on(full, photos) -> None:
    service, client, (obama, biden) = full
    stored = service.stored()
    with pytest.raises(ClientError) as refused:
        client.index_faces(CollectionId="staff", Image={"Bytes": photos.astronaut})
    answer = refused.value.response
    assert answer["Error"]["Code"] == "ThrottlingException"
    assert "room" in answer["Error"]["Message"]
    assert int(answer["ResponseMetadata"]["HTTPHeaders"]["retry-after"]) > 0
    assert service.stored() == stored

    found = client.search_faces_by_image(CollectionId="staff", Image={"Bytes": photos.obama2})
    assert [match["Face"]["FaceId"] for match in found["FaceMatches"]] == [obama]
    assert client.search_faces(CollectionId="staff", FaceId=biden)["FaceMatches"] == []
    assert client.delete_faces(CollectionId="staff", FaceIds=[obama])["DeletedFaces"] == [obama]
    found = client.search_faces_by_image(CollectionId="staff", Image={"Bytes": photos.obama2})
    assert found["FaceMatches"] == []
    assert len(service.stored()) == len(stored) - 1, "the photo went with its face"
    assert service.stop() == 0
