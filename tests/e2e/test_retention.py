"""How long faces and photos are kept: set by an administrator, kept from the moment of expiry, erased soon after."""

import time

import pytest
from asking import enrol, face_count, face_ids, refusal, search
from service import Service

WAIT_SECONDS_MAX = 30
TENANT = "first"


class Sweeping(Service):
    """A service that sweeps all the time."""

    def __init__(self, folder) -> None:
        super().__init__(folder)
        self.environment = {
            "VIDIMUS__LEDGER__SWEEP_INTERVAL": "200ms",
            "VIDIMUS__LEDGER__AUDIT_BATCH_WAIT": "100ms",
        }


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory):
    """A service of this module's own."""
    started = Sweeping(tmp_path_factory.mktemp("sweeping"))
    started.start()
    yield started
    started.close()


def keep(service, collection: str, **kept: str) -> dict:
    """Sets a rule; the collection as it is shown then."""
    flags = [word for what, how_long in kept.items() for word in (f"--{what}", how_long)]
    return service.admin("collection", "set-retention", TENANT, collection, *flags)


def until(condition, what: str) -> None:
    """Waits until the condition holds."""
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while not condition():
        assert time.monotonic() < deadline, f"after {WAIT_SECONDS_MAX} s not: {what}"
        time.sleep(0.05)


def files_of(service, kind: str, face: str) -> list[str]:
    """The objects of a face's record or photos."""
    return [key for key in service.objects() if kind in key.split("/") and face[:-4] in key]


def record_holds_a_template(service, face: str) -> bool:
    """Whether the face's record is as large as one with a template: 128 numbers of four bytes."""
    [path] = files_of(service, "records", face)
    return len(service.read_object(path)) > 512


def metric(service, name: str) -> int:
    """A sample of the ledger's operators' page."""
    [value] = [
        line.split()[1] for line in service.page_of("ledger", "/metrics")[1].splitlines() if line.startswith(f"{name} ")
    ]
    return int(value)


def expires(client, collection: str, face: str, photo: bytes) -> None:
    """Waits until the face has expired; then nothing shows it."""
    until(lambda: face not in face_ids(client, collection), f"{face} has expired")
    assert face not in search(client, collection, photo, FaceMatchThreshold=0)
    assert refusal(client.search_faces, CollectionId=collection, FaceId=face) == "InvalidParameterException"
    assert client.list_faces(CollectionId=collection, FaceIds=[face])["Faces"] == []


def test_an_expired_face_is_gone_from_everything(service, client, collection, photos):
    shown = keep(service, collection, faces="2s")
    assert (shown["faces_kept"], shown["photos_kept"]) == ("2s", "none")
    [face] = enrol(client, collection, photos.obama, "obama")
    expires(client, collection, face, photos.obama)
    assert face_count(client, collection) == 0
    until(lambda: not record_holds_a_template(service, face), "the template is erased from the record")
    until(lambda: not files_of(service, "photos", face), "the photo is removed")
    until(lambda: metric(service, "vidimus_retention_overdue_faces") == 0, "nothing is overdue")
    assert metric(service, "vidimus_retention_erased_faces_total") >= 1
    assert metric(service, "vidimus_retention_erased_photos_total") >= 1
    [again] = enrol(client, collection, photos.obama, "obama")
    assert again != face


def test_a_rule_holds_for_faces_that_are_there(service, client, collection, photos):
    [face] = enrol(client, collection, photos.obama)
    assert search(client, collection, photos.obama) == [face]
    keep(service, collection, faces="1s")
    expires(client, collection, face, photos.obama)


def test_a_longer_rule_brings_nothing_back(service, client, collection, photos):
    [old] = enrol(client, collection, photos.obama)
    keep(service, collection, faces="1s")
    expires(client, collection, old, photos.obama)
    for longer in ["30d", "none"]:
        assert keep(service, collection, faces=longer)["faces_kept"] in {"30days", "none"}
        assert search(client, collection, photos.obama, FaceMatchThreshold=0) == []
        assert face_count(client, collection) == 0
    [new] = enrol(client, collection, photos.obama)
    assert new != old
    assert face_ids(client, collection) == search(client, collection, photos.obama) == [new]


def test_a_photo_goes_before_its_face(service, client, collection, photos):
    keep(service, collection, photos="2s")
    [face] = enrol(client, collection, photos.obama)
    assert files_of(service, "photos", face)
    until(lambda: not files_of(service, "photos", face), "the photo is removed")
    assert search(client, collection, photos.obama) == [face]
    assert record_holds_a_template(service, face)


def test_the_rest_of_a_rule_stays_as_it_was(service, client, collection):
    keep(service, collection, faces="30d", photos="7d")
    shown = keep(service, collection, photos="none")
    assert (shown["faces_kept"], shown["photos_kept"]) == ("30days", "none")
    assert service.admin("collection", "show", TENANT, collection) == shown
    assert shown in service.admin("collection", "list", TENANT)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--faces", "soon"], '"soon" is no duration'),
        (["--faces", "30"], "is no duration"),
        (["--faces", "10ms"], "at least one second"),
        (["--photos", "1000y"], "at most a hundred years"),
        ([], "--faces"),
    ],
)
def test_a_wrong_rule_is_refused_and_changes_nothing(service, client, collection, flags, said):
    before = service.admin("collection", "show", TENANT, collection)
    assert said in service.admin_refusal("collection", "set-retention", TENANT, collection, *flags)
    assert service.admin("collection", "show", TENANT, collection) == before


def test_what_is_not_there_has_no_rule(service, client):
    assert "nobody" in service.admin_refusal("collection", "list", "nobody")
    assert "nothing" in service.admin_refusal("collection", "set-retention", TENANT, "nothing", "--faces", "1d")
    assert "nothing" in service.admin_refusal("collection", "show", TENANT, "nothing")


def test_rules_and_expiries_are_audited(service, client, collection, photos):
    keep(service, collection, faces="1s")
    enrol(client, collection, photos.obama)
    until(lambda: face_count(client, collection) == 0, "the face has expired")

    def principals() -> set[bytes]:
        batches = [service.read_object(key) for key in service.objects() if key.startswith("audit/")]
        of_collection = [batch for batch in batches if collection.encode() in batch]
        return {name for name in (b"administrator", b"ledger") if any(name in batch for batch in of_collection)}

    until(lambda: principals() == {b"administrator", b"ledger"}, "the rule and the expiry are audited")


@pytest.mark.embedded
def test_a_rule_can_be_set_while_no_service_runs(folder):
    stopped = Sweeping(folder)
    stopped.start()
    key = stopped.new_tenant(TENANT)
    stopped.client(key).create_collection(CollectionId="staff")
    assert stopped.stop() == 0
    assert keep(stopped, "staff", faces="12h")["faces_kept"] == "12h"
    stopped.start()
    try:
        assert stopped.admin("collection", "show", TENANT, "staff")["faces_kept"] == "12h"
    finally:
        stopped.close()
