"""The bulk lane over the encoder's own throughput, in one run: `bulk.py --programs FOLDER --models FOLDER --photo PORTRAIT`.

The encoder alone, with as many threads as the service has, is measured before and after the job, on the same photos: what else the
machine does weighs on both. A job's rate is taken from the command's start to its end, with everything that a job does.

With --distributed the embedding process has the last core to itself, as it has machines of its own where it is deployed; all others, and
the servers, have the other cores. The encoder alone is measured on the embedding process's core.
"""

import argparse
import contextlib
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench import ROOT, Service, ran, say


def children_cpu_seconds() -> float:
    """CPU time of every program that was waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def on_cores(cores: set[int]) -> Iterator[None]:
    """What is started meanwhile runs on these cores only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Embedded:
    """One process on a directory."""

    # Those of the encoder, and those of all that is not the embedding process.
    encoder_cores = other_cores = os.sched_getaffinity(0)

    def __init__(self, arguments: argparse.Namespace, folder: Path) -> None:
        self.data = folder / "data"
        self.data.mkdir()
        self.programs = arguments.programs
        self.service = Service(arguments.programs, self.data, arguments.models)
        self.address = self.service.address

    def admin(self, *words: object) -> dict[str, object]:
        """Runs `vidimus admin …`."""
        return ran([self.programs / "vidimus", "admin", *words, "--json", "--data", self.data])

    def cpu_seconds(self) -> dict[str, float]:
        """CPU time so far, by process."""
        return {"vidimus": self.service.cpu_seconds()}

    def stop(self) -> None:
        """Ends it in order."""
        self.service.stop()


class Distributed:
    """A process for each role over Kafka, SeaweedFS and qdrant-dev, all on this machine."""

    encoder_cores = {max(os.sched_getaffinity(0))}
    other_cores = os.sched_getaffinity(0) - encoder_cores

    def __init__(self, arguments: argparse.Namespace, folder: Path) -> None:
        if not self.other_cores:
            sys.exit("error: the embedding process takes a core of its own, and this machine has one")
        os.environ["VIDIMUS_PROGRAMS"] = str(arguments.programs)
        sys.path.insert(0, str(ROOT / "scripts/stack"))
        from components import SERVERS, Backing
        from processes import READY_SECONDS_MAX, Processes

        self.ready_seconds_max = READY_SECONDS_MAX
        self.programs = arguments.programs
        self.servers = SERVERS
        self.backing = Backing(folder / "backing")
        self.processes = Processes(folder / "processes")
        with on_cores(self.other_cores):
            self.backing.start()
        settings = {**self.backing.settings("bench"), "VIDIMUS__LOGS__FILTER": "warn"}
        try:
            self.start_processes(settings, arguments.models)
        except BaseException:
            self.stop()
            raise
        os.environ |= {**settings, **self.processes.admin_settings()}
        self.address = self.processes.of("gateway")[0].said["tenants"]

    def start_processes(self, settings: dict[str, str], models: Path) -> None:
        """Starts each role on its cores, and waits until all are ready."""
        self.processes.prepare()
        for member in self.processes.members:
            with on_cores(self.encoder_cores if member.role == "embedding" else self.other_cores):
                self.processes.start_one(member, self.processes.shared(settings), models)
        deadline = time.monotonic() + self.ready_seconds_max
        for member in self.processes.members:
            self.processes.wait_for(member, deadline)

    def admin(self, *words: object) -> dict[str, object]:
        """Runs `vidimus admin …`."""
        with on_cores(self.other_cores):
            return ran([self.programs / "vidimus", "admin", *words, "--json"])

    def cpu_seconds(self) -> dict[str, float]:
        """CPU time so far, by process."""
        roles = {member.name: cpu_seconds(member.pid) for member in self.processes.members}
        return {**roles, **{name: sum(map(cpu_seconds, self.backing.pids(name))) for name in self.servers}}

    def stop(self) -> None:
        """Ends everything."""
        self.processes.stop()
        self.backing.stop()


def photos_folder(folder: Path, portrait: Path, count: int, side_px: int | None) -> Path:
    """So many portraits, all of other bytes, so that no two are one photo."""
    photo = portrait.read_bytes()
    if side_px:
        import cv2

        image = cv2.imread(str(portrait))
        scale = side_px / max(image.shape[:2])
        shrunk = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        photo = cv2.imencode(".jpg", shrunk, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
    made = folder / "photos"
    made.mkdir()
    for number in range(count):
        # What follows the end of a JPEG is no part of the picture.
        (made / f"{number:05}.jpg").write_bytes(photo + number.to_bytes(4, "big"))
    # Else they come to the disk during the job, half a minute after they were written.
    os.sync()
    return made


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, object]:
    """One run."""
    photos = photos_folder(folder, arguments.photo, arguments.count, arguments.side)
    os.environ["VIDIMUS_MODELS"] = str(arguments.models)
    encoder = [arguments.programs / "examples/encoder_throughput", photos, 1]
    mode = Distributed if arguments.distributed else Embedded
    say("the encoder alone")
    encoder_cpu = children_cpu_seconds()
    with on_cores(mode.encoder_cores):
        before = ran(encoder)
    encoder_cpu = children_cpu_seconds() - encoder_cpu
    service = mode(arguments, folder)
    try:
        service.admin("tenant", "create", "first")
        make_collection(service.address, service.admin("key", "create", "first"))
        say(f"a job of {arguments.count} photos")
        cpu, command_cpu, began = service.cpu_seconds(), children_cpu_seconds(), time.monotonic()
        job = service.admin("bulk-index", photos, "--tenant", "first", "--collection", "bench", "--journal", folder / "journal")
        seconds = time.monotonic() - began
        command_cpu = children_cpu_seconds() - command_cpu
        cpu = {name: round(now - cpu[name], 2) for name, now in service.cpu_seconds().items()}
    finally:
        service.stop()
    if job["enrolled"] != arguments.count:
        sys.exit(f"error: {job}")
    say("the encoder alone, again")
    with on_cores(mode.encoder_cores):
        after = ran(encoder)
    alone = 2 / (1 / before["photos_per_second"] + 1 / after["photos_per_second"])
    rate = arguments.count / seconds
    return {
        "photos": arguments.count,
        "threads": before["threads"],
        "encoder_photos_per_second": [before["photos_per_second"], after["photos_per_second"]],
        "bulk_photos_per_second": rate,
        "encoder_cpu_seconds": encoder_cpu,
        "service_cpu_seconds": cpu,
        "command_cpu_seconds": command_cpu,
        "ratio": rate / alone,
    }


def make_collection(address: str, key: dict[str, str]) -> None:
    """Makes the collection as a tenant does."""
    import boto3

    client = boto3.client(
        "rekognition",
        endpoint_url=f"http://{address}",
        region_name="eu-central-1",
        aws_access_key_id=key["access_key_id"],
        aws_secret_access_key=key["secret_access_key"],
    )
    client.create_collection(CollectionId="bench")


def main() -> None:
    """Runs it and prints JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--programs", type=Path, required=True, help="folder of the built programs")
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--photo", type=Path, required=True, help="a portrait")
    parser.add_argument("--count", type=int, default=4000, help="photos of the job: its start and its end take half a second, distributed a whole one")
    parser.add_argument("--distributed", action="store_true", help="a process for each role, over servers on this machine; embedding has a core to itself")
    parser.add_argument("--side", type=int, help="shrink the portrait to this many pixels")
    parser.add_argument("--folder", type=Path, help="where to work; a temporary folder by default")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="bulk-") as folder:
        print(json.dumps(measure(arguments, Path(folder)), indent=2))


if __name__ == "__main__":
    main()
