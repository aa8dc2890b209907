"""The bulk lane: jobs over the command line and over gRPC, killed in the middle, begun again, and what was refused."""

import base64
import io
import json
import math
import os
import random
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import grpc
import pytest
from asking import enrol, face_count, face_ids
from grpc_client import GrpcClient
from PIL import Image
from service import Key, Service, binary, is_distributed

PHOTOS = int(os.environ.get("VIDIMUS_BULK_PHOTOS", "200"))
SIDE_PX = 320
JOB_SECONDS_MAX = 240
DIMENSION = 128
#: Of a photo that is not sent in a request.
OBJECT_BYTES_MAX = 15 * 1024 * 1024
#: How a job ends in which photos were refused.
SOME_REFUSED = 2


def small(photo: bytes) -> bytes:
    """The photo, shrunk: these tests are about many, not about pixels."""
    image = Image.open(io.BytesIO(photo)).convert("RGB")
    image.thumbnail((SIDE_PX, SIDE_PX))
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=90)
    return encoded.getvalue()


def blank() -> bytes:
    """A photo of nobody."""
    encoded = io.BytesIO()
    Image.new("RGB", (200, 200), (90, 120, 150)).save(encoded, "JPEG")
    return encoded.getvalue()


def people(photos) -> list[bytes]:
    """Portraits of one face each."""
    return [small(photo) for photo in (photos.obama, photos.biden, photos.astronaut)]


def journals(service: Service) -> Path:
    """Where the jobs of the service keep their journals."""
    return (service.folder if is_distributed() else service.data) / "bulk"


class Job:
    """`vidimus admin bulk-index …` as a process."""

    def __init__(self, service: Service, collection: str, *words: str) -> None:
        command = [str(binary()), "admin", "bulk-index", "--json", *service.admin_flags(), "--tenant", "first"]
        command += ["--collection", collection, *words]
        if is_distributed():
            command += ["--journal", str(journals(service))]
        environment = {**os.environ, **service.admin_environment()}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment)

    def end(self) -> tuple[int, dict, str]:
        """Waits for it: its exit status, what it reported, and what it said beside."""
        try:
            out, said = self.process.communicate(timeout=JOB_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        lines = out.strip().splitlines()
        return self.process.returncode, json.loads(lines[-1]) if lines else {}, said


def run(service: Service, collection: str, *words: str) -> tuple[int, dict, str]:
    """Runs a job to its end."""
    return Job(service, collection, *words).end()


def wait_until(condition, seconds: float = 60.0) -> None:
    """Asks again until it is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not come to pass"
        time.sleep(0.05)


def by_external_id(client, collection: str) -> dict[str, list[str]]:
    """The faces of a collection by the names of their photos."""
    found: dict[str, list[str]] = {}
    for page in client.get_paginator("list_faces").paginate(CollectionId=collection):
        for face in page["Faces"]:
            found.setdefault(face.get("ExternalImageId", ""), []).append(face["FaceId"])
    return found


def test_a_killed_job_goes_on_and_every_photo_is_enrolled_once(folder: Path, photos) -> None:
    service = Service(folder)
    service.start()
    key = service.new_tenant("first")
    client = service.client(key, retries=3)
    client.create_collection(CollectionId="staff")
    source = folder / "photos"
    source.mkdir()
    portraits = people(photos)
    names = [f"person-{number:04}.jpg" for number in range(PHOTOS)]
    for number, name in enumerate(names):
        (source / name).write_bytes(portraits[number % len(portraits)])
    deleted: set[str] = set()
    try:
        job_id = "in-the-middle"
        kills = 0
        # Killed at several places, each time with some faces deleted that were just brought in.
        for share in (0.15, 0.4, 0.7):
            job = Job(service, "staff", str(source), "--job", job_id)
            wait_until(lambda: face_count(client, "staff") + len(deleted) >= share * PHOTOS, JOB_SECONDS_MAX)
            doomed = sorted(face_ids(client, "staff"))[:3]
            assert client.delete_faces(CollectionId="staff", FaceIds=doomed)["DeletedFaces"]
            deleted.update(doomed)
            service.stop(signal.SIGKILL)
            status, _, said = job.end()
            assert status == 1 and f"--job {job_id}" in said, said
            kills += 1
            service.start()
            client = service.client(key, retries=3)
        status, report, said = run(service, "staff", str(source), "--job", job_id)
        assert status == 0, said
        assert report["job"] == job_id and report["refused"] == 0 and report["failed"] == 0, report
        assert report["enrolled"] + report["already_there"] + report["gone"] == PHOTOS, report
        wait_until(lambda: face_count(client, "staff") == PHOTOS - len(deleted))
        found = by_external_id(client, "staff")
        assert all(len(faces) == 1 for faces in found.values()), "a photo was enrolled twice"
        assert set(found) <= set(names) and len(found) == PHOTOS - len(deleted)
        listed = {face for faces in found.values() for face in faces}
        assert not listed & deleted, "a deleted face is back"

        # Once more, and once more without the journal: all is answered, nothing is brought in again.
        began = time.monotonic()
        status, report, said = run(service, "staff", str(source), "--job", job_id)
        assert status == 0, said
        took = time.monotonic() - began
        shutil.rmtree(journals(service) / job_id)
        status, again, said = run(service, "staff", str(source), "--job", job_id)
        assert status == 0 and again["gone"] == len(deleted), (again, said)
        assert again["enrolled"] == PHOTOS - len(deleted), again
        assert by_external_id(client, "staff") == found
        print(f"{kills} kills, {len(deleted)} faces deleted, {PHOTOS} photos; a finished job ends in {took:.2f} s")
        assert service.stop() == 0
    finally:
        service.close()


def test_refused_photos_are_reported_with_reasons(service: Service, client, collection: str, folder, photos) -> None:
    source = folder / "source"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "ada lovelace.jpg").write_bytes(people(photos)[0])
    (source / "nobody.jpg").write_bytes(blank())
    (source / "notes.txt").write_text("this is no photo")
    with (source / "huge.jpg").open("wb") as huge:
        huge.truncate(15 * 1024 * 1024 + 1)
    status, report, said = run(service, collection, str(source))
    assert status == SOME_REFUSED, said
    assert (report["enrolled"], report["refused"], report["faces"]) == (1, 3, 1), report
    assert re.search(r"job \S+: .* --job \S+", said), said
    lines = [json.loads(line) for line in Path(report["refused_in"]).read_text().splitlines()]
    reasons = {line["name"]: line["reason"] for line in lines}
    assert set(reasons) == {"nobody.jpg", "notes.txt", "huge.jpg"}
    assert "no face" in reasons["nobody.jpg"]
    assert "JPEG or PNG" in reasons["notes.txt"]
    assert "15728640" in reasons["huge.jpg"]
    wait_until(lambda: list(by_external_id(client, collection)) == ["deep:ada_lovelace.jpg"])
    status, again, _ = run(service, collection, str(source), "--job", report["job"], "--allow-refused")
    assert status == 0 and again["refused"] == 3, again
    status, _, said = run(service, collection, str(folder), "--job", report["job"])
    assert status == 1 and "and nothing else" in said, said


def test_the_place_of_imports_is_brought_in(folder: Path, photos, monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service(folder)
    if is_distributed():
        place = service.settings["VIDIMUS__IMPORTS"]
    else:
        place = f"file://{service.data}/imports"
        monkeypatch.setenv("VIDIMUS__IMPORTS", place)
    service.start()
    try:
        client = service.client(service.new_tenant("first"))
        client.create_collection(CollectionId="staff")
        portraits = {f"2026/person {number}.jpg": photo for number, photo in enumerate(people(photos))}
        others = {"2026/blank.jpg": blank(), "2026/large.jpg": bytes(OBJECT_BYTES_MAX + 1), "2025/old.jpg": blank()}
        for name, content in {**portraits, **others}.items():
            service.put_import(f"acme/{name}", content)
        status, report, said = run(service, "staff", f"{place}/acme/2026")
        assert status == SOME_REFUSED, said
        assert (report["enrolled"], report["refused"], report["faces"]) == (len(portraits), 2, len(portraits)), report
        refusals = [json.loads(line) for line in Path(report["refused_in"]).read_text().splitlines()]
        reasons = {refusal["name"]: refusal["reason"] for refusal in refusals}
        assert set(reasons) == {"2026/blank.jpg", "2026/large.jpg"}
        assert reasons["2026/large.jpg"] == f"it has more than {OBJECT_BYTES_MAX} bytes"
        named = {name.replace("/", ":").replace(" ", "_") for name in portraits}
        wait_until(lambda: set(by_external_id(client, "staff")) == named)
        status, report, said = run(service, "staff", f"{place}/acme/2026", "--allow-refused")
        assert status == 0 and (report["enrolled"], report["already_there"]) == (0, len(portraits)), (report, said)
        status, _, said = run(service, "staff", f"{place}-elsewhere/acme")
        assert status == 1 and "must lie below" in said, said
    finally:
        service.close()


def test_a_job_into_nowhere_says_so(service: Service, client, collection: str, folder: Path) -> None:
    source = folder / "source"
    source.mkdir()
    (source / "a.jpg").write_bytes(blank())
    status, _, said = run(service, "no-such-collection", str(source))
    assert status == 1 and "no-such-collection does not exist" in said, said
    status, _, said = run(service, collection, str(folder / "nothing"))
    assert status == 1 and "is no folder" in said, said
    status, _, said = run(service, collection, "s3://bucket/photos")
    assert status == 1 and "imports" in said, said
    assert service.admin("dead-letters", "list") == []
    assert service.admin("dead-letters", "replay") == {"sent": 0, "dropped": 0, "kept": 0}


def template(chance: random.Random) -> list[float]:
    """A random direction."""
    values = [chance.gauss(0, 1) for _ in range(DIMENSION)]
    norm = math.sqrt(sum(value * value for value in values))
    return [value / norm for value in values]


def test_ready_templates_are_a_thousand_to_a_record(service: Service, client, collection: str, folder: Path) -> None:
    chance = random.Random(1)
    file = folder / "templates.jsonl"
    count = 2_100
    lines = [json.dumps({"model": "sface-2021dec", "dimension": DIMENSION})]
    for number in range(count):
        lines.append(json.dumps({"template": template(chance), "external_image_id": f"face-{number}"}))
    wrong = [0.5] * DIMENSION
    lines.insert(10, json.dumps({"template": wrong}))
    file.write_text("\n".join(lines) + "\n")
    status, report, said = run(service, collection, "--templates", str(file))
    assert status == SOME_REFUSED, said
    assert (report["faces"], report["enrolled"], report["refused"]) == (count, 3, 1), report
    refused = json.loads(Path(report["refused_in"]).read_text())
    assert refused["name"] == "line 11" and "unit length" in refused["reason"], refused
    wait_until(lambda: face_count(client, collection) == count)
    found = by_external_id(client, collection)
    assert len(found) == count and set(found) == {f"face-{number}" for number in range(count)}
    # What is found is the very face.
    face = found["face-7"][0]
    assert client.delete_faces(CollectionId=collection, FaceIds=[face])["DeletedFaces"] == [face]
    shutil.rmtree(journals(service) / report["job"])
    status, again, said = run(service, collection, "--templates", str(file), "--job", report["job"], "--allow-refused")
    assert status == 0, said
    assert "face-7" not in by_external_id(client, collection), "a deleted face is back"
    assert face_count(client, collection) == count - 1


@pytest.fixture
def bulk(service: Service, key: Key):
    """A gRPC client of the module's tenant."""
    with grpc.insecure_channel(service.address) as channel:
        yield GrpcClient(channel, key)


def job_of(collection: str, job_id: str, named: dict[str, bytes]) -> list[dict]:
    """A job's messages."""
    first = {"collection_id": collection, "job_id": job_id}
    photos = [
        {"photo": {"name": name, "external_image_id": name, "bytes": base64.b64encode(photo).decode()}}
        for name, photo in named.items()
    ]
    return [first, *photos]


def test_a_stream_answers_each_photo_once(client, collection: str, photos, bulk: GrpcClient) -> None:
    portraits = people(photos)
    known = enrol(client, collection, portraits[0], "known.jpg")
    named = {"known.jpg": portraits[0], "new.jpg": portraits[1], "nobody.jpg": blank(), "text": b"text"}
    answers = bulk.bulk(job_of(collection, "stream-1", named))
    outcomes = {name: answer["outcome"] for name, answer in answers.items()}
    assert outcomes == {"known.jpg": "ALREADY_THERE", "new.jpg": "ENROLLED", "nobody.jpg": "REFUSED", "text": "REFUSED"}
    assert answers["known.jpg"]["face_ids"] == known
    assert "no face" in answers["nobody.jpg"]["reason"] and answers["nobody.jpg"]["image_id"]
    [new] = answers["new.jpg"]["face_ids"]
    wait_until(lambda: new in face_ids(client, collection))
    assert bulk.bulk(job_of(collection, "stream-1", named))["new.jpg"] == answers["new.jpg"]
    client.delete_faces(CollectionId=collection, FaceIds=[new])
    assert bulk.bulk(job_of(collection, "stream-1", named))["new.jpg"]["outcome"] == "GONE"
    assert new not in face_ids(client, collection)
    [back] = bulk.bulk(job_of(collection, "stream-2", named))["new.jpg"]["face_ids"]
    assert back != new, "another job brings it in as another face"


def test_a_stream_that_is_wrong_is_refused(service: Service, collection: str, bulk: GrpcClient) -> None:
    for messages, code in [
        ([], grpc.StatusCode.INVALID_ARGUMENT),
        ([{"collection_id": "nowhere", "job_id": "j"}], grpc.StatusCode.NOT_FOUND),
        ([{"collection_id": collection}], grpc.StatusCode.INVALID_ARGUMENT),
    ]:
        with pytest.raises(grpc.RpcError) as refused:
            bulk.bulk(messages)
        assert refused.value.code() == code, messages
    with grpc.insecure_channel(service.address) as channel:
        nobody = GrpcClient(channel, Key("AKNOBODY", "secret"))
        with pytest.raises(grpc.RpcError) as refused:
            nobody.bulk(job_of(collection, "j", {}))
    assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_deletions_do_not_wait_behind_a_job(service: Service, client, collection: str, folder: Path, photos) -> None:
    source = folder / "many"
    source.mkdir()
    portrait = people(photos)[0]
    for number in range(80):
        (source / f"{number}.jpg").write_bytes(portrait)
    [face] = enrol(client, collection, people(photos)[1], "other.jpg")
    job = Job(service, collection, str(source))
    wait_until(lambda: face_count(client, collection) >= 5)
    waiting = 80 + 1 - face_count(client, collection)
    began = time.monotonic()
    assert client.delete_faces(CollectionId=collection, FaceIds=[face])["DeletedFaces"] == [face]
    took = time.monotonic() - began
    assert face not in face_ids(client, collection)
    still = 80 - face_count(client, collection)
    status, report, said = job.end()
    assert status == 0 and report["enrolled"] == 80, (report, said)
    print(f"with about {waiting} photos waiting a deletion took {took:.3f} s; {still} were waiting after it")
    assert still > 0, "the job was over: the test says nothing"
