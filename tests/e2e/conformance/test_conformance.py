"""Every operation of the face API against botocore's service model: what breaks a constraint is refused as AWS's general
layer refuses it, names the place, and stores nothing."""

import re

import pytest
from raw import Answer, Raw
from service import is_distributed

from conformance.cases import Case, Expected, cases
from conformance.model import FACE_OPERATIONS
from conformance.right_requests import EXISTING_COLLECTION, base

ALL_CASES = [case for operation in FACE_OPERATIONS for case in cases(operation)]


@pytest.fixture(scope="module")
def raw(service, key, client) -> Raw:
    """Sends by hand, as a tenant with one collection."""
    client.create_collection(CollectionId=EXISTING_COLLECTION)
    return Raw(service, key)


@pytest.fixture(scope="module")
def right_answers(raw) -> dict[str, Answer]:
    """What the right requests are answered with."""
    return {operation: raw.ask(operation, base(operation)) for operation in FACE_OPERATIONS}


@pytest.fixture(scope="module")
def nothing_is_stored(service, right_answers):
    """Fails where the store is not what it was before the first case. Audit batches are written in their own time."""

    def stored() -> dict[str, object]:
        return {key: written for key, written in service.written().items() if "audit" not in key.split("/")}

    before = stored()

    def check() -> None:
        assert stored() == before, "something was stored"

    # A directory is looked at after each case, a bucket, which takes longer, after all.
    yield check if not is_distributed() else lambda: None
    check()


@pytest.mark.parametrize("operation", FACE_OPERATIONS)
def test_the_operation_is_there(right_answers, operation):
    answer = right_answers[operation]
    assert answer.error != "UnknownOperationException", answer.message
    assert answer.status in {200, 400}
    assert "validation error" not in answer.message, "the request that all others are made of is right"


@pytest.mark.parametrize("case", ALL_CASES, ids=str)
def test_a_request_is_answered_as_the_model_says(raw, right_answers, nothing_is_stored, case: Case):
    answer = raw.ask(case.operation, case.body)
    assert answer.error != "UnknownOperationException", answer.message
    check(case, answer, right_answers[case.operation])
    nothing_is_stored()


def check(case: Case, answer: Answer, right: Answer) -> None:
    """The answer is the expected one."""
    match case.expected:
        case Expected.BROKEN:
            assert (answer.status, answer.error) == (400, "InvalidParameterException"), answer
            pattern = rf"\d+ validation errors? detected: .*Value .* at '{re.escape(case.path)}' failed to satisfy"
            assert re.match(pattern, answer.message, re.DOTALL), answer.message
            assert case.constraint in answer.message, answer.message
        case Expected.WRONG_TYPE:
            assert (answer.status, answer.error) == (400, "SerializationException"), answer
            assert answer.message
        case Expected.TOO_LARGE:
            assert (answer.status, answer.error) == (400, "ImageTooLargeException"), answer
        case Expected.AS_BEFORE:
            assert (answer.status, answer.json) == (right.status, right.json)
        case Expected.ACCEPTED:
            assert "validation error" not in answer.message, answer
            assert answer.error != "SerializationException", answer


def test_an_empty_body_is_an_empty_request(raw):
    assert raw.ask("ListCollections", b"").json == raw.ask("ListCollections", {}).json
    answer = raw.ask("DescribeCollection", b"")
    assert answer.error == "InvalidParameterException"
    assert "at 'collectionId'" in answer.message


def test_all_that_is_broken_is_said_at_once(raw):
    broken = {"CollectionId": "a b", "FaceId": "x", "MaxFaces": 0, "FaceMatchThreshold": 101}
    answer = raw.ask("SearchFaces", broken)
    assert answer.message.startswith("4 validation errors detected: ")
    for path in ["collectionId", "faceId", "maxFaces", "faceMatchThreshold"]:
        assert f"at '{path}'" in answer.message
