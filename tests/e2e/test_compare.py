"""DetectFaces and CompareFaces, photos in buckets, and rates, through boto3."""

import concurrent.futures
import time

import cv2
import numpy as np
import pytest
from asking import refusal
from botocore.exceptions import ClientError
from service import Service


def test_faces_are_detected_and_nothing_is_stored(client, service: Service, photos) -> None:
    before = service.stored()
    answer = client.detect_faces(Image={"Bytes": photos.obama}, Attributes=["ALL"])
    [detail] = answer["FaceDetails"]
    assert set(detail) == {"BoundingBox", "Confidence", "Landmarks", "Pose", "Quality"}
    assert abs(detail["Pose"]["Roll"]) < 45 and 0 < detail["Quality"]["Brightness"] < 100
    assert service.stored() == before


def test_two_photos_are_compared(client, photos) -> None:
    same = client.compare_faces(SourceImage={"Bytes": photos.obama}, TargetImage={"Bytes": photos.obama2})
    assert len(same["FaceMatches"]) == 1 and same["UnmatchedFaces"] == []
    assert same["FaceMatches"][0]["Similarity"] > 95
    assert same["SourceImageFace"]["Confidence"] > 50
    other = client.compare_faces(SourceImage={"Bytes": photos.obama}, TargetImage={"Bytes": photos.astronaut})
    assert other["FaceMatches"] == [] and len(other["UnmatchedFaces"]) == 1
    all_of_them = client.compare_faces(
        SourceImage={"Bytes": photos.obama}, TargetImage={"Bytes": photos.astronaut}, SimilarityThreshold=0
    )
    assert len(all_of_them["FaceMatches"]) == 1
    meaning = same["ResponseMetadata"]["HTTPHeaders"]
    assert float(meaning["x-vidimus-fmr"]) == pytest.approx(1e-4, rel=0.01)


def darkened(photo: bytes) -> bytes:
    """The photo, nearly black."""
    pixels = cv2.imdecode(np.frombuffer(photo, np.uint8), cv2.IMREAD_COLOR)
    return cv2.imencode(".png", (pixels * 0.12).astype(np.uint8))[1].tobytes()


def test_a_quality_filter_leaves_unfit_faces_out(client, collection: str, photos) -> None:
    client.index_faces(CollectionId=collection, Image={"Bytes": photos.obama})
    dark = {"Bytes": darkened(photos.obama)}
    fine = {"Bytes": photos.obama2}
    assert len(client.search_faces_by_image(CollectionId=collection, Image=dark)["FaceMatches"]) == 1
    unfit = {"CollectionId": collection, "Image": dark, "QualityFilter": "HIGH"}
    assert refusal(client.search_faces_by_image, **unfit) == "InvalidParameterException"
    assert len(client.compare_faces(SourceImage=fine, TargetImage=dark)["FaceMatches"]) == 1
    answer = client.compare_faces(SourceImage=fine, TargetImage=dark, QualityFilter="HIGH")
    assert answer["FaceMatches"] == [] and answer["UnmatchedFaces"] == []
    unfit = {"SourceImage": dark, "TargetImage": fine, "QualityFilter": "HIGH"}
    assert refusal(client.compare_faces, **unfit) == "InvalidParameterException"


def test_a_photo_in_a_mapped_bucket(client, collection: str, service: Service, photos) -> None:
    service.put_import("acme/in/obama.jpg", photos.obama)
    service.put_import("acme/secret.jpg", photos.obama2)
    image = {"S3Object": {"Bucket": "photos", "Name": "obama.jpg"}}
    assert refusal(client.index_faces, CollectionId=collection, Image=image) == "InvalidS3ObjectException"
    service.admin("bucket", "map", "first", "photos", "acme/in")
    assert service.admin("bucket", "list", "first")[0]["prefix"] == "acme/in"
    assert len(client.index_faces(CollectionId=collection, Image=image)["FaceRecords"]) == 1
    for name in ("../secret.jpg", "/etc/hostname", "none.jpg"):
        away = {"S3Object": {"Bucket": "photos", "Name": name}}
        assert refusal(client.detect_faces, Image=away) == "InvalidS3ObjectException"
    service.admin("bucket", "unmap", "first", "photos")
    assert refusal(client.detect_faces, Image=image) == "InvalidS3ObjectException"


def test_a_header_sets_when_a_face_expires(client, collection: str, photos) -> None:
    at = time.time() + 2

    def add_header(request, **_more) -> None:
        request.headers["x-vidimus-expires-at"] = str(at)

    client.meta.events.register("before-sign.rekognition.IndexFaces", add_header)
    try:
        client.index_faces(CollectionId=collection, Image={"Bytes": photos.obama})
    finally:
        client.meta.events.unregister("before-sign.rekognition.IndexFaces", add_header)
    deadline = time.monotonic() + 20
    while client.list_faces(CollectionId=collection)["Faces"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert time.time() >= at
    late = time.time() - 5
    at = late
    client.meta.events.register("before-sign.rekognition.IndexFaces", add_header)
    try:
        assert refusal(client.index_faces, CollectionId=collection, Image={"Bytes": photos.obama}) == (
            "InvalidParameterException"
        )
    finally:
        client.meta.events.unregister("before-sign.rekognition.IndexFaces", add_header)


def test_one_tenants_flood_is_its_own(folder) -> None:
    service = Service(folder)
    service.environment = {"VIDIMUS__GATEWAY__TENANT_LIMITS__SEARCHES_PER_SECOND": "5"}
    service.start()
    try:
        flood, calm = (service.client(service.new_tenant(name)) for name in ("flood", "calm"))
        for client in (flood, calm):
            client.create_collection(CollectionId="staff")
        nobody = {"CollectionId": "staff", "FaceId": "00000000-0000-4000-8000-000000000001"}

        def outcome(client) -> str:
            try:
                client.search_faces(**nobody)
            except ClientError as error:
                headers = error.response["ResponseMetadata"]["HTTPHeaders"]
                code = error.response["Error"]["Code"]
                assert code != "ProvisionedThroughputExceededException" or int(headers["retry-after"]) >= 1
                return code
            return "ok"

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            flooding = [pool.submit(outcome, flood) for _ in range(60)]
            calmly = {outcome(calm) for _ in range(4)}
            outcomes = [one.result() for one in flooding]
        assert outcomes.count("ProvisionedThroughputExceededException") >= 30
        # The face is not there; but the question was heard.
        assert calmly == {"InvalidParameterException"}
    finally:
        service.close()
