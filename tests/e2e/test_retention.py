"""How long faces and photos are kept: set by an administrator, kept from the moment of expiry, erased soon after."""

import subprocess
import time

import pytest
from asking import enrol, face_count, face_ids, refusal, search
from service import Service, binary

WAIT_SECONDS_MAX = 30
TENANT = "first"


class Sweeping(Service):
    """A service that sweeps all the time."""

    def start(self) -> None:
        config = self.folder / "vidimus.toml"
        config.write_text('[ledger]\nsweep_interval = "200ms"\naudit_batch_wait = "100ms"\n')
        super().start()

    def serve_command(self) -> list[str]:
        return [*super().serve_command(), "--config", str(self.folder / "vidimus.toml")]


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
    """The files of a face's record or photos, from the data directory."""
    # Only the blobs are walked: the index makes and removes folders of its own meanwhile.
    blobs = (service.data / "blobs").rglob(f"*{face[:-4]}*")
    return [str(path.relative_to(service.data)) for path in blobs if kind in path.parts]


def record_holds_a_template(service, face: str) -> bool:
    """Whether the face's record is as large as one with a template: 128 numbers of four bytes."""
    [path] = files_of(service, "records", face)
    return (service.data / path).stat().st_size > 512


def metric(service, name: str) -> int:
    """A sample of the operators' page."""
    [value] = [
        line.split()[1] for line in service.operators_page("/metrics")[1].splitlines() if line.startswith(f"{name} ")
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


def admin_refusal(service, *words: str) -> str:
    """Runs `vidimus admin collection …`, which must fail; what it says."""
    command = [str(binary()), "admin", "collection", *words, "--data", str(service.data)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode != 0, ran.stdout
    return ran.stderr


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
    assert said in admin_refusal(service, "set-retention", TENANT, collection, *flags)
    assert service.admin("collection", "show", TENANT, collection) == before


def test_what_is_not_there_has_no_rule(service, client):
    assert "nobody" in admin_refusal(service, "list", "nobody")
    assert "nothing" in admin_refusal(service, "set-retention", TENANT, "nothing", "--faces", "1d")
    assert "nothing" in admin_refusal(service, "show", TENANT, "nothing")


def test_rules_and_expiries_are_audited(service, client, collection, photos):
    keep(service, collection, faces="1s")
    enrol(client, collection, photos.obama)
    until(lambda: face_count(client, collection) == 0, "the face has expired")

    def principals() -> set[bytes]:
        batches = [path.read_bytes() for path in (service.data / "blobs/objects/audit").glob("*/*/*/*")]
        of_collection = [batch for batch in batches if collection.encode() in batch]
        return {name for name in (b"administrator", b"ledger") if any(name in batch for batch in of_collection)}

    until(lambda: principals() == {b"administrator", b"ledger"}, "the rule and the expiry are audited")


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
