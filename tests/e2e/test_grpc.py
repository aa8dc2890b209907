"""The public gRPC service through reflection: the twin of what boto3 sees."""

import base64
import datetime
import ipaddress
import time

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from google.rpc import error_details_pb2
from grpc_client import GrpcClient
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from service import Key, Service

pytestmark = pytest.mark.shared

OPERATIONS = """CreateCollection DescribeCollection ListCollections DeleteCollection IndexFaces ListFaces SearchFaces
SearchFacesByImage DeleteFaces DetectFaces CompareFaces CreateUser DeleteUser ListUsers AssociateFaces DisassociateFaces
SearchUsers SearchUsersByImage TagResource UntagResource ListTagsForResource""".split()
ADDED = {"BulkIndex", "StreamFaces", "StreamUsers", "GetPhoto", "GetRetention", "SetRetention"}


@pytest.fixture(scope="module")
def channel(service: Service):
    with grpc.insecure_channel(service.address) as opened:
        yield opened


@pytest.fixture(scope="module")
def faces(channel: grpc.Channel, key: Key) -> GrpcClient:
    return GrpcClient(channel, key)


def bytes_of(photo: bytes) -> dict:
    return {"bytes": base64.b64encode(photo).decode()}


def details(error: grpc.RpcError) -> dict:
    """The details of a status by the names of their types."""
    kinds = {
        kind.DESCRIPTOR.full_name: kind
        for kind in (
            error_details_pb2.ErrorInfo,
            error_details_pb2.BadRequest,
            error_details_pb2.RetryInfo,
            error_details_pb2.RequestInfo,
        )
    }
    found = {}
    for packed in rpc_status.from_call(error).details:
        detail = kinds[packed.type_url.rsplit("/", 1)[1]]()
        assert packed.Unpack(detail)
        found[type(detail).__name__] = detail
    return found


def test_reflection_tells_every_operation(faces: GrpcClient) -> None:
    assert faces.methods() == set(OPERATIONS) | ADDED
    assert set(faces.database.get_services()) >= {"vidimus.v1.Faces", "grpc.health.v1.Health"}


def test_health_is_told_without_a_key(channel: grpc.Channel) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    for name in ("", "vidimus.v1.Faces"):
        answer = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=10)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_the_main_way_and_its_twin(faces: GrpcClient, client, collection: str, photos) -> None:
    enrolled = faces.call(
        "IndexFaces", {"collection_id": collection, "image": bytes_of(photos.obama), "external_image_id": "o"}
    )
    face = enrolled["face_records"][0]["face"]
    assert face["external_image_id"] == "o"
    detail = enrolled["face_records"][0]["face_detail"]
    assert {mark["type"] for mark in detail["landmarks"]} == {"eyeLeft", "eyeRight", "nose", "mouthLeft", "mouthRight"}
    found = faces.call("SearchFacesByImage", {"collection_id": collection, "image": bytes_of(photos.obama2)})
    twin = client.search_faces_by_image(CollectionId=collection, Image={"Bytes": photos.obama2})
    assert [match["face"]["face_id"] for match in found["face_matches"]] == [face["face_id"]]
    assert [match["Face"]["FaceId"] for match in twin["FaceMatches"]] == [face["face_id"]]
    assert found["face_matches"][0]["similarity"] == pytest.approx(twin["FaceMatches"][0]["Similarity"], abs=1e-3)
    assert 0 < found["vidimus"]["false_match_rate"] < 1e-3 and found["vidimus"]["gallery_faces"] == "1"
    again = faces.call("SearchFaces", {"collection_id": collection, "face_id": face["face_id"]})
    assert again["face_matches"] == [] and again["searched_face_id"] == face["face_id"]
    streamed = faces.call("StreamFaces", {"collection_id": collection})
    assert [shown["face_id"] for shown in streamed] == [face["face_id"]]
    compared = faces.call(
        "CompareFaces", {"source_image": bytes_of(photos.obama), "target_image": bytes_of(photos.obama2)}
    )
    assert len(compared["face_matches"]) == 1 and compared["unmatched_faces"] == []
    gone = faces.call("DeleteFaces", {"collection_id": collection, "face_ids": [face["face_id"]]})
    assert gone["deleted_faces"] == [face["face_id"]]
    assert faces.call("DescribeCollection", {"collection_id": collection})["face_count"] == "0"


def test_a_target_fpir_picks_the_threshold(faces: GrpcClient, collection: str, photos) -> None:
    faces.call("IndexFaces", {"collection_id": collection, "image": bytes_of(photos.obama)})
    request = {"collection_id": collection, "image": bytes_of(photos.obama2), "vidimus": {"target_fpir": 1e-4}}
    meaning = faces.call("SearchFacesByImage", request)["vidimus"]
    assert meaning["false_match_rate"] == pytest.approx(1e-4, rel=0.01)
    assert meaning["threshold_similarity"] == pytest.approx(80.0, abs=0.5)
    request["vidimus"] = {"target_fpir": 1e-9}
    with pytest.raises(grpc.RpcError) as refused:
        faces.call("SearchFacesByImage", request)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "calibration reaches 1e-7" in refused.value.details()


def test_errors_have_details(faces: GrpcClient, service: Service, channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        faces.call("SearchFaces", {"collection_id": "a b", "face_id": "x", "max_faces": 5000})
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    found = details(refused.value)
    assert found["ErrorInfo"].reason == "InvalidParameterException"
    assert {broken.field for broken in found["BadRequest"].field_violations} == {"collectionId", "faceId", "maxFaces"}
    assert found["RequestInfo"].request_id
    with pytest.raises(grpc.RpcError) as refused:
        faces.call("DescribeCollection", {"collection_id": "none"})
    assert refused.value.code() == grpc.StatusCode.NOT_FOUND
    assert details(refused.value)["ErrorInfo"].reason == "ResourceNotFoundException"
    wrong = Key(faces.metadata[0][1].split()[1].split(":")[0], "wrong")
    for nobody in (GrpcClient(channel, None), GrpcClient(channel, wrong)):
        with pytest.raises(grpc.RpcError) as refused:
            nobody.call("ListCollections")
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_a_photo_is_given_only_to_whom_it_may_be(
    faces: GrpcClient, service: Service, tenant: str, channel: grpc.Channel, collection: str, photos
) -> None:
    enrolled = faces.call("IndexFaces", {"collection_id": collection, "image": bytes_of(photos.obama)})
    asked = {"collection_id": collection, "face_id": enrolled["face_records"][0]["face"]["face_id"]}
    with pytest.raises(grpc.RpcError) as refused:
        faces.call("GetPhoto", asked)
    assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED
    made = service.admin("key", "create", tenant, "--may-get-photos")
    allowed = GrpcClient(channel, Key(made["access_key_id"], made["secret_access_key"]))
    pieces = allowed.call("GetPhoto", asked)
    assert b"".join(base64.b64decode(piece["bytes"]) for piece in pieces) == photos.obama
    faces.call("DeleteFaces", {"collection_id": collection, "face_ids": [asked["face_id"]]})
    with pytest.raises(grpc.RpcError) as refused:
        allowed.call("GetPhoto", asked)
    assert refused.value.code() == grpc.StatusCode.NOT_FOUND


def test_faces_may_expire_by_themselves_or_by_rule(faces: GrpcClient, collection: str, photos) -> None:
    at = time.time() + 3
    request = {"collection_id": collection, "image": bytes_of(photos.obama), "vidimus": {"expires_at": at}}
    faces.call("IndexFaces", request)
    assert faces.call("DescribeCollection", {"collection_id": collection})["face_count"] == "1"
    deadline = time.monotonic() + 20
    while faces.call("DescribeCollection", {"collection_id": collection})["face_count"] != "0":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert time.time() >= at
    faces.call("SetRetention", {"collection_id": collection, "faces_kept_seconds": 3600})
    rule = faces.call("GetRetention", {"collection_id": collection})
    assert rule["faces_kept_seconds"] == 3600 and "photos_kept_seconds" not in rule


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory):
    """A certificate of 127.0.0.1 that is its own root."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "vidimus test")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    (folder / "certificate.pem").write_bytes(made.public_bytes(pem))
    (folder / "key.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    return folder


def test_both_protocols_over_tls(certificate, folder) -> None:
    service = Service(folder)
    service.environment = {
        "VIDIMUS__GATEWAY__TLS__CERTIFICATE": str(certificate / "certificate.pem"),
        "VIDIMUS__GATEWAY__TLS__KEY": str(certificate / "key.pem"),
    }
    service.start()
    try:
        key = service.new_tenant("first")
        root = (certificate / "certificate.pem").read_bytes()
        with grpc.secure_channel(service.address, grpc.ssl_channel_credentials(root)) as channel:
            GrpcClient(channel, key).call("CreateCollection", {"collection_id": "staff"})
        client = service.client(key, verify=str(certificate / "certificate.pem"))
        assert client.list_collections()["CollectionIds"] == ["staff"]
    finally:
        service.close()
