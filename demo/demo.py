"""Shows Vidimus with plain boto3 and real photos: enrol, search, look, delete. Fails where anything is amiss.

Usage: demo.py --binary VIDIMUS --photos DIR --out DIR [--stack STATE]

Without a stack it starts a service on an empty directory; STATE is what `make stack` wrote of the service that runs.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import boto3
from picture import Search, Shown, draw

COLLECTION = "demo"
REGION = "eu-central-1"
START_SECONDS_MAX = 60
STOP_SECONDS_MAX = 30
BOLD, FAINT, GREEN, END = ("\033[1m", "\033[2m", "\033[32m", "\033[0m") if sys.stdout.isatty() else ("",) * 4


def step(text: str) -> None:
    """A heading of what comes next."""
    print(f"\n{BOLD}{text}{END}", flush=True)


def done(text: str, began: float | None = None) -> None:
    """One line of what was done, and how long it took."""
    took = f"  {FAINT}{(time.monotonic() - began) * 1000:.0f} ms{END}" if began else ""
    print(f"  {GREEN}✓{END} {text}{took}", flush=True)


def expect(holds: bool, otherwise: str) -> None:
    """Ends the demo where something does not hold."""
    if not holds:
        raise SystemExit(f"error: the demo failed: {otherwise}")


class Service:
    """`vidimus serve` on an empty directory."""

    def __init__(self, binary: Path, folder: Path) -> None:
        self.binary, self.folder, self.data = binary, folder, folder / "data"
        ready = folder / "ready.json"
        command = [binary, "serve", "--data", self.data, "--ready-file", ready]
        command += ["--listen", "127.0.0.1:0", "--operators", "127.0.0.1:0"]
        self.log = (folder / "service.log").open("wb")
        self.process = subprocess.Popen([str(word) for word in command], stdout=self.log, stderr=self.log)
        deadline = time.monotonic() + START_SECONDS_MAX
        while not ready.exists():
            expect(self.process.poll() is None, f"the service ended at once:\n{self.log_end()}")
            expect(time.monotonic() < deadline, f"the service is not ready:\n{self.log_end()}")
            time.sleep(0.02)
        self.address = json.loads(ready.read_text())["tenants"]

    def log_end(self) -> str:
        return "\n".join((self.folder / "service.log").read_text(errors="replace").splitlines()[-20:])

    def admin(self, *words: str) -> dict[str, str]:
        """Runs `vidimus admin …` and reads what it prints."""
        command = [str(self.binary), "admin", *words, "--json", "--data", str(self.data)]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        expect(ran.returncode == 0, f"vidimus admin {' '.join(words)}: {ran.stderr}")
        return json.loads(ran.stdout) if ran.stdout.strip() else {}

    def stop(self) -> None:
        """Ends it in order; it must say that all went well."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(STOP_SECONDS_MAX)
        expect(status == 0, f"the service ended with {status}:\n{self.log_end()}")

    def kill(self) -> None:
        """Ends it after a failure."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Stack:
    """The service that `make stack` has started."""

    def __init__(self, binary: Path, state: Path) -> None:
        said = json.loads(state.read_text())
        self.binary, self.settings, self.address = binary, said["settings"], said["tenants"]

    def admin(self, *words: str) -> dict[str, str]:
        """Runs `vidimus admin …` and reads what it prints."""
        command = [str(self.binary), "admin", *words, "--json"]
        environment = {**os.environ, **self.settings}
        ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
        expect(ran.returncode == 0, f"vidimus admin {' '.join(words)}: {ran.stderr}")
        return json.loads(ran.stdout) if ran.stdout.strip() else {}


def keep_meanings(response_dict, customized_response_dict, **_) -> None:
    """Keeps what Vidimus says beyond the AWS API: boto3 itself drops members that it does not know."""
    if response_dict["status_code"] == 200:
        body = json.loads(response_dict["body"])
        meanings = [match.get("Vidimus", {}) for match in body.get("FaceMatches", [])]
        customized_response_dict["Vidimus"] = body.get("Vidimus", {}) | {"FaceMatches": meanings}


def connect(service: Service | Stack, key: dict[str, str]):
    """An AWS SDK client. All that is different from AWS is the address."""
    client = boto3.client(
        "rekognition",
        endpoint_url=f"http://{service.address}",
        region_name=REGION,
        aws_access_key_id=key["access_key_id"],
        aws_secret_access_key=key["secret_access_key"],
    )
    client.meta.events.register("before-parse.rekognition.SearchFacesByImage", keep_meanings)
    return client


def rate_in_words(rate: float) -> str:
    """A false match rate as a person says it."""
    if rate < 1e-7:
        return "under 1 in 10 million"
    one_in = 1 / rate
    digits = max(0, len(str(round(one_in))) - 2)
    return f"1 in {round(one_in, -digits):,.0f}"


def enrol(client, photos: Path, name: str) -> dict[str, object]:
    """Enrols one photo under its name; the face."""
    began = time.monotonic()
    answer = client.index_faces(
        CollectionId=COLLECTION,
        Image={"Bytes": (photos / f"{name}.jpg").read_bytes()},
        ExternalImageId=name,
    )
    expect(len(answer["FaceRecords"]) == 1, f"{name}.jpg has {len(answer['FaceRecords'])} faces")
    face = answer["FaceRecords"][0]["Face"]
    done(f"{name}.jpg: face {face['FaceId']}, confidence {face['Confidence']:.1f}", began)
    return face


def search(client, photo: Path) -> dict[str, object]:
    """Searches with a photo, prints the candidates and what the scores mean."""
    began = time.monotonic()
    answer = client.search_faces_by_image(CollectionId=COLLECTION, Image={"Bytes": photo.read_bytes()})
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    matches = answer["FaceMatches"]
    done(f"{photo.name}: {len(matches)} candidate{'' if len(matches) == 1 else 's'}", began)
    for match, meaning in zip(matches, answer["Vidimus"]["FaceMatches"], strict=True):
        face = match["Face"]
        print(f"      face             {face['FaceId']}")
        print(f"      ExternalImageId  {face['ExternalImageId']}")
        print(f"      similarity       {match['Similarity']:.2f}  (cosine {meaning['Cosine']:.3f})")
        rate = meaning["FalseMatchRate"]
        beyond = ", extrapolated" if rate < 1e-6 else ""
        print(f"      false match rate {rate:.1e}{beyond}: {rate_in_words(rate)} pairs of strangers score as high")
    at_threshold = float(headers["x-vidimus-fmr"])
    strangers = float(headers["x-vidimus-expected-strangers"])
    meaning = f"false match rate {at_threshold:.0e}; strangers to expect here: {strangers:.1g}"
    print(f"    {FAINT}at the threshold: {meaning}{END}")
    return answer


def shown_probe(photo: Path, answer: dict[str, object]) -> Shown:
    """The probe for the picture."""
    rate = rate_in_words(answer["Vidimus"]["FalseMatchRate"])
    lines = ["searched in 2 enrolled faces", f"threshold 80: false match rate {rate}"]
    return Shown(photo, answer["SearchedFaceBoundingBox"], photo.name, lines)


def shown_candidates(photos: Path, answer: dict[str, object]) -> list[Shown]:
    """The candidates for the picture. The service gives no photos back: they are found by their names."""
    shown = []
    for match, meaning in zip(answer["FaceMatches"], answer["Vidimus"]["FaceMatches"], strict=True):
        face = match["Face"]
        name = face["ExternalImageId"]
        lines = [
            f"face {face['FaceId'][:8]}…{face['FaceId'][-4:]}",
            f"false match rate {rate_in_words(meaning['FalseMatchRate'])}",
        ]
        shown.append(Shown(photos / f"{name}.jpg", face["BoundingBox"], name, lines, match["Similarity"]))
    return shown


def show(client, photos: Path, out: Path) -> None:
    """The whole way, from an empty service to an empty collection."""
    step("Two people are enrolled")
    client.create_collection(CollectionId=COLLECTION)
    done(f"collection {COLLECTION}")
    obama, biden = enrol(client, photos, "obama"), enrol(client, photos, "biden")

    step("Another photo of one of them finds that person, and nobody else")
    known = search(client, photos / "obama2.jpg")
    found = [match["Face"]["FaceId"] for match in known["FaceMatches"]]
    expect(found == [obama["FaceId"]], f"the candidates are {found}")
    expect(known["FaceMatches"][0]["Face"]["ExternalImageId"] == "obama", "the name is another")

    step("A stranger finds nobody")
    stranger = search(client, photos / "astronaut.png")
    expect(stranger["FaceMatches"] == [], "a stranger has candidates")

    picture = out / "candidates.png"
    probe, candidates = shown_probe(photos / "obama2.jpg", known), shown_candidates(photos, known)
    rows = [
        Search("Another photo of an enrolled person", probe, candidates),
        Search("A stranger", shown_probe(photos / "astronaut.png", stranger)),
    ]
    draw("Vidimus: probes and candidates", rows, picture)
    done(f"picture: {picture}")

    step("The face is deleted, and is gone")
    began = time.monotonic()
    deleted = client.delete_faces(CollectionId=COLLECTION, FaceIds=[obama["FaceId"]])["DeletedFaces"]
    expect(deleted == [obama["FaceId"]], f"deleted are {deleted}")
    done(f"deleted {obama['FaceId']}", began)
    expect(search(client, photos / "obama2.jpg")["FaceMatches"] == [], "the deleted face is still found")
    listed = [face["FaceId"] for face in client.list_faces(CollectionId=COLLECTION)["Faces"]]
    expect(listed == [biden["FaceId"]], f"listed are {listed}")
    done("the collection lists the other face alone")


def show_on(service: Service | Stack, tenant: str, options: argparse.Namespace) -> None:
    """Shows it with a tenant of its own."""
    service.admin("tenant", "create", tenant)
    client = connect(service, service.admin("key", "create", tenant))
    done(f"tenant {tenant} and its access key")
    show(client, options.photos, options.out)


def show_stack(options: argparse.Namespace) -> None:
    """Shows a service that runs, and leaves it running without what it was shown with."""
    step("A service of many processes")
    service = Stack(options.binary, options.stack)
    done(f"on {service.address}")
    tenant = f"demo-{uuid.uuid4().hex[:8]}"
    show_on(service, tenant, options)
    client = connect(service, service.admin("key", "create", tenant))
    client.delete_collection(CollectionId=COLLECTION)
    service.admin("tenant", "delete", tenant)
    done(f"collection and tenant {tenant} are deleted")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for option in ["--binary", "--photos", "--out"]:
        parser.add_argument(option, type=Path, required=True)
    parser.add_argument("--stack", type=Path)
    options = parser.parse_args()
    if options.stack:
        show_stack(options)
        return
    with tempfile.TemporaryDirectory(prefix="vidimus-demo-") as folder:
        step("A service on an empty directory")
        began = time.monotonic()
        service = Service(options.binary, Path(folder))
        try:
            done(f"vidimus serve, process {service.process.pid}, on {service.address}", began)
            show_on(service, "demo", options)
            step("The service ends")
            began = time.monotonic()
            service.stop()
            done("nothing is left running", began)
        finally:
            service.kill()
            service.log.close()


if __name__ == "__main__":
    os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")
    main()
