"""Who may ask: requests signed wrongly, in every way there is, are refused, and nothing is stored."""

import datetime
import json
from unittest import mock

import botocore.auth
import pytest
import urllib3
from asking import enrol, face_count, refusal
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from service import REGION

TARGET = "RekognitionService."
CONTENT_TYPE = "application/x-amz-json-1.1"


class Asking:
    """Builds a request, signs it as told, and sends it after what a test does to it."""

    def __init__(self, service, key) -> None:
        self.url = f"http://{service.address}/"
        self.key_id, self.secret = key.access_key_id, key.secret_access_key
        self.service, self.minutes, self.unsigned = "rekognition", 0, set()

    def signed(self, operation: str, body: dict[str, object]) -> AWSRequest:
        """A request with its signature."""
        request = AWSRequest(
            method="POST",
            url=self.url,
            data=json.dumps(body).encode(),
            headers={"Content-Type": CONTENT_TYPE, "X-Amz-Target": TARGET + operation},
        )
        late = {name: request.headers[name] for name in self.unsigned}
        for name in late:
            del request.headers[name]
        when = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=self.minutes)
        with mock.patch.object(botocore.auth, "get_current_datetime", lambda: when.replace(tzinfo=None)):
            SigV4Auth(Credentials(self.key_id, self.secret), self.service, REGION).add_auth(request)
        for name, value in late.items():
            request.headers[name] = value
        return request

    def send(self, request: AWSRequest) -> tuple[int, dict[str, object]]:
        """The status and the answer."""
        answer = urllib3.request(
            "POST", self.url, body=request.data, headers=dict(request.headers.items()), retries=False, timeout=30.0
        )
        assert answer.headers["x-amzn-RequestId"]
        return answer.status, json.loads(answer.data)


@pytest.fixture
def asking(service, key) -> Asking:
    """The right key, and everything else as it should be."""
    return Asking(service, key)


def listing(asking: Asking) -> tuple[int, dict[str, object]]:
    return asking.send(asking.signed("ListCollections", {}))


def test_a_right_signature_is_taken(asking):
    status, answer = listing(asking)
    assert status == 200 and "CollectionIds" in answer


def test_a_wrong_secret_is_refused(asking):
    asking.secret = "x" * 40
    status, answer = listing(asking)
    assert (status, answer["__type"]) == (400, "InvalidSignatureException")


def test_an_unknown_key_is_refused(asking):
    asking.key_id = "VKIAAAAAAAAAAAAAAAAA"
    status, answer = listing(asking)
    assert (status, answer["__type"]) == (400, "UnrecognizedClientException")


def test_a_body_that_was_changed_is_refused(asking):
    request = asking.signed("ListCollections", {"MaxResults": 1})
    request.data = request.data.replace(b"1", b"9")
    status, answer = asking.send(request)
    assert (status, answer["__type"]) == (400, "InvalidSignatureException")


@pytest.mark.parametrize("header", ["X-Amz-Target", "X-Amz-Date"])
def test_a_header_that_was_changed_is_refused(asking, header):
    request = asking.signed("ListCollections", {})
    changed = {"X-Amz-Target": TARGET + "DeleteCollection", "X-Amz-Date": request.headers["X-Amz-Date"][:-3] + "59Z"}
    if changed[header] == request.headers[header]:
        changed[header] = changed[header][:-3] + "58Z"
    request.headers.replace_header(header, changed[header])
    status, answer = asking.send(request)
    assert (status, answer["__type"]) == (400, "InvalidSignatureException")


@pytest.mark.parametrize("minutes", [-6, 6])
def test_a_wrong_clock_is_refused(asking, minutes):
    asking.minutes = minutes
    status, answer = listing(asking)
    assert (status, answer["__type"]) == (400, "InvalidSignatureException")


@pytest.mark.parametrize("minutes", [-4, 4])
def test_a_clock_may_be_a_little_wrong(asking, minutes):
    asking.minutes = minutes
    assert listing(asking)[0] == 200


def test_a_signature_for_another_service_is_refused(asking):
    asking.service = "s3"
    status, answer = listing(asking)
    assert (status, answer["__type"]) == (400, "InvalidSignatureException")


def test_the_operation_must_be_signed(asking):
    asking.unsigned = {"X-Amz-Target"}
    status, answer = listing(asking)
    assert (status, answer["__type"]) == (400, "InvalidSignatureException")


MISSING = {
    "Authorization": "MissingAuthenticationTokenException",
    "X-Amz-Date": "IncompleteSignatureException",
    "X-Amz-Target": "InvalidSignatureException",
}


@pytest.mark.parametrize("header", MISSING)
def test_a_missing_header_is_refused(asking, header):
    request = asking.signed("ListCollections", {})
    del request.headers[header]
    status, answer = asking.send(request)
    assert (status, answer["__type"]) == (400, MISSING[header])


@pytest.mark.parametrize("text", ["", "Basic dXNlcjpwYXNz", "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 Credential=a/b"])
def test_a_malformed_authorization_is_refused(asking, text):
    request = asking.signed("ListCollections", {})
    request.headers.replace_header("Authorization", text)
    status, answer = asking.send(request)
    assert status == 400
    assert answer["__type"] in {"IncompleteSignatureException", "MissingAuthenticationTokenException"}


def test_an_unknown_operation_is_named_as_such(asking):
    status, answer = asking.send(asking.signed("ReadMinds", {}))
    assert (status, answer["__type"]) == (400, "UnknownOperationException")


def test_a_body_that_is_no_json_is_refused(asking):
    request = asking.signed("ListCollections", {})
    request.data = b"{"
    del request.headers["Authorization"]
    SigV4Auth(Credentials(asking.key_id, asking.secret), "rekognition", REGION).add_auth(request)
    status, answer = asking.send(request)
    assert (status, answer["__type"]) == (400, "SerializationException")


def test_a_refused_request_stores_nothing(service, key, client, collection, photos):
    before = service.stored()
    stranger = service.client(type(key)(key.access_key_id, "y" * 40))
    for name in ["obama", "biden"]:
        image = {"Bytes": getattr(photos, name)}
        code = refusal(stranger.index_faces, CollectionId=collection, Image=image)
        assert code == "InvalidSignatureException"
    assert service.stored() == before
    assert face_count(client, collection) == 0


def test_a_disabled_key_is_refused(service, client, collection, photos):
    key = service.new_key("first")
    second = service.client(key)
    assert len(enrol(second, collection, photos.obama)) == 1
    before = service.stored()
    service.admin("key", "disable", key.access_key_id)
    code = refusal(second.index_faces, CollectionId=collection, Image={"Bytes": photos.biden})
    assert code == "UnrecognizedClientException"
    assert service.stored() == before and face_count(client, collection) == 1
    service.admin("key", "enable", key.access_key_id)
    assert face_count(second, collection) == 1
    service.admin("key", "delete", key.access_key_id)
    assert refusal(second.list_collections) == "UnrecognizedClientException"
