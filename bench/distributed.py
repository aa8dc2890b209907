"""The distributed service over its parts, in one run: `distributed.py --programs FOLDER --models FOLDER --photo PORTRAIT`.

Starts Kafka, SeaweedFS, qdrant-dev and a process for each role on this machine, moves a gallery of synthetic faces in, searches by
stored faces through the gateway and asks Qdrant and Kafka for the same with their own clients, in turn. Then it enrols photos at half
of the rate that the service can do, and says how long changes waited to be projected.
"""

import argparse
import datetime
import itertools
import json
import os
import re
import statistics
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

from bench import ROOT, WARMUP_REQUESTS, machine, ran, say

sys.path.insert(0, str(ROOT / "scripts/stack"))

NAME = "bench"
PLACEMENT = "sface-2021dec"
#: Of a search's audit record, about what `bench.py` finds for such a gallery.
AUDIT_BYTES = 700
SETTLED_SECONDS_MAX = 1800
#: Service and parts in turn; their medians are compared. Kafka's JVM compiles for as long as the first rounds take, and theirs are none of
#: the medians.
SEARCH_ROUNDS = 7
UNCOUNTED_ROUNDS = 4
ENROLLING_SECONDS = 20
ENROLLING_CONNECTIONS = 4
#: Of the aims in the table.
SEARCH_RATIO_MAX = 1.25
LAG_SECONDS_MAX = 1.0


class Bench:
    """One run."""

    def __init__(self, arguments: argparse.Namespace, folder: Path) -> None:
        os.environ["VIDIMUS_PROGRAMS"] = str(arguments.programs)
        from components import Backing
        from processes import Processes

        self.arguments = arguments
        self.folder = folder
        self.gallery = folder / "gallery.json"
        self.backing = Backing(folder / "backing")
        self.processes = Processes(folder / "processes")
        self.measured: dict[str, object] = {}

    def run(self) -> None:
        """Everything, in order."""
        exported = self.export()
        say("Kafka, SeaweedFS, qdrant-dev and a process for each role")
        self.backing.start()
        try:
            limits = {
                "VIDIMUS__GATEWAY__TENANT_LIMITS__SEARCHES_PER_SECOND": "1000000",
                "VIDIMUS__GATEWAY__TENANT_LIMITS__ENROLMENTS_PER_SECOND": "1000000",
                "VIDIMUS__LOGS__FILTER": "warn",
            }
            settings = {**self.backing.settings(NAME), **limits}
            self.processes.start(settings, self.arguments.models)
            self.fill(exported, settings)
            for number in range(UNCOUNTED_ROUNDS + SEARCH_ROUNDS):
                say(f"search by a stored face, grpc, and the parts: {number + 1} of {UNCOUNTED_ROUNDS + SEARCH_ROUNDS}")
                self.measured.setdefault("grpc", []).append(self.search())
                self.measured.setdefault("parts", []).append(self.parts())
                self.measured.setdefault("lean_parts", []).append(self.parts("--lean"))
            self.enrol()
        finally:
            self.processes.stop()
            self.backing.stop()

    def export(self) -> Path:
        """A gallery, made in a directory and exported."""
        faces = self.arguments.faces
        say(f"{faces} faces")
        data, exported = self.folder / "data", self.folder / "gallery.export"
        data.mkdir()
        made = ran([self.arguments.programs / "vidimus-gallery", "--data", data, "--faces", faces])
        self.gallery.write_text(json.dumps(made))
        ran([self.arguments.programs / "vidimus", "admin", "export", "--tenant", "benchmark", "--output", exported,
             "--json", "--data", data])
        return exported

    def fill(self, exported: Path, settings: dict[str, str]) -> None:
        """Imports it, and waits until the index has built its graphs."""
        say("import")
        os.environ |= {**settings, **self.processes.admin_settings()}
        ran([self.arguments.programs / "vidimus", "admin", "import", exported, "--json"])
        say("graphs are built")
        began, quiet = time.monotonic(), 0
        while quiet < 5:
            before = self.cpu_seconds()
            time.sleep(1)
            quiet = quiet + 1 if self.cpu_seconds() - before < 0.2 else 0
            if time.monotonic() - began > SETTLED_SECONDS_MAX:
                sys.exit("error: the index does not come to rest")

    def cpu_seconds(self) -> float:
        """CPU time of the index's server so far."""
        fields = Path(f"/proc/{self.backing.said['qdrant_pid']}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def tenants(self) -> str:
        """The gateway's address."""
        return self.processes.of("gateway")[0].said["tenants"]

    def search(self) -> dict[str, object]:
        """One connection, one request at a time."""
        load = [self.arguments.programs / "vidimus-load", "--gallery", self.gallery, "--address", self.tenants()]
        load += ["--protocol", "grpc", "--warmup", WARMUP_REQUESTS, "--requests", self.arguments.requests]
        return ran([*load, "--seconds", 600])

    def parts(self, *asking: str) -> dict[str, object]:
        """The same with Qdrant's and Kafka's own clients; `--lean`: Qdrant is asked as the service asks it."""
        said = self.backing.said
        asked = ["--qdrant", f"http://127.0.0.1:{said['qdrant_port']}", "--collection", f"{NAME}-{PLACEMENT}"]
        asked += ["--gallery", self.gallery, "--log", f"kafka://127.0.0.1:{said['kafka_ports'][0]}"]
        asked += ["--topic-prefix", "parts.", "--audit-bytes", AUDIT_BYTES, "--requests", self.arguments.requests]
        return ran([self.arguments.programs / "examples/distributed_parts", *asked, *asking])

    def enrol(self) -> None:
        """The online lane: as fast as it goes, and then at half of that."""
        say("enrolments, as many as it can do")
        capacity = self.enrolments(None)
        say(f"enrolments, {capacity / 2:.1f} a second")
        # What the first phase left behind is none of the second's.
        time.sleep(3)
        before = self.lags()
        self.enrolments(capacity / 2)
        # The consumer projects what the calls did already, so that each change is counted there.
        time.sleep(3)
        after = self.lags()
        counts = {bound: count - before.get(bound, 0) for bound, count in after.items()}
        self.measured["enrolment"] = {"a_second": capacity, "lag_counts": counts, "lag_p99_seconds": p99(counts)}

    def enrolments(self, rate: float | None) -> float:
        """Enrols photos of other bytes for a while; how many a second."""
        photo, numbers = self.arguments.photo.read_bytes(), itertools.count()
        lock, done, refused, began = threading.Lock(), 0, 0, time.monotonic()

        def work() -> None:
            nonlocal done, refused
            client = self.client()
            while True:
                with lock:
                    number = next(numbers)
                due = began + number / rate if rate else time.monotonic()
                if due - began > ENROLLING_SECONDS:
                    return
                time.sleep(max(0.0, due - time.monotonic()))
                try:
                    # What follows the end of a JPEG is no part of the picture.
                    client.index_faces(CollectionId="gallery", Image={"Bytes": photo + os.urandom(8)})
                    with lock:
                        done += 1
                except Exception as error:  # noqa: BLE001
                    with lock:
                        refused += 1
                    say(f"refused: {error}")

        workers = [threading.Thread(target=work) for _ in range(ENROLLING_CONNECTIONS)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        if refused:
            say(f"{refused} enrolments were refused")
        return done / (time.monotonic() - began)

    def client(self):
        """An unmodified boto3 client."""
        import boto3

        key = json.loads(self.gallery.read_text())
        return boto3.client(
            "rekognition",
            endpoint_url=f"http://{self.tenants()}",
            region_name="eu-central-1",
            aws_access_key_id=key["access_key_id"],
            aws_secret_access_key=key["secret_access_key"],
        )

    def lags(self) -> dict[float, int]:
        """How many changes waited for up to so long, cumulatively, as indexing counts them."""
        counts: dict[float, int] = {}
        for member in self.processes.of("indexing"):
            page = urllib.request.urlopen(f"http://{member.said['operators']}/metrics", timeout=10).read().decode()
            for bound, count in re.findall(r'vidimus_indexing_lag_seconds_bucket\{le="([^"]+)"\} (\d+)', page):
                counts[float(bound)] = counts.get(float(bound), 0) + int(count)
        return counts

    def ratios(self) -> list[tuple[str, float, float, str, float | None]]:
        """(what, ours, theirs, unit, the ratio to keep within)"""

        def median(of: str, quantile: str) -> float:
            return statistics.median(measured[quantile] for measured in self.measured[of][UNCOUNTED_ROUNDS:])

        rows = [
            (f"search, grpc: {quantile[:3]} over its parts in turn", median("grpc", quantile), median("parts", quantile), "ms",
             SEARCH_RATIO_MAX)
            for quantile in ["p50_ms", "p99_ms"]
        ]
        rows += [
            (f"search, grpc: {quantile[:3]} over the same with Qdrant asked as we ask", median("grpc", quantile),
             median("lean_parts", quantile), "ms", None)
            for quantile in ["p50_ms", "p99_ms"]
        ]
        lag = self.measured["enrolment"]["lag_p99_seconds"]
        rows.append(("a change waits, at half of the capacity: p99 over a second", lag, LAG_SECONDS_MAX, "s", 1.0))
        return rows


def p99(counts: dict[float, int]) -> float:
    """The least bound that 99 % are within."""
    total = max(counts.values(), default=0)
    return next((bound for bound, count in sorted(counts.items()) if total and count >= 0.99 * total), float("inf"))


def main() -> None:
    """Runs it, and prints the table and JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--programs", type=Path, required=True, help="folder of the built programs")
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--photo", type=Path, required=True, help="a portrait")
    parser.add_argument("--faces", type=int, default=100_000)
    parser.add_argument("--requests", type=int, default=2_000)
    parser.add_argument("--folder", type=Path, help="where to work; a temporary folder by default")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="bench-") as folder:
        bench = Bench(arguments, Path(folder))
        bench.run()
    at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    print(f"{machine()}, {at}, {arguments.faces} faces, one process for each role")
    for what, ours, theirs, unit, limit in bench.ratios():
        kept = "" if limit is None else f"at most {limit:.2f}{'' if ours / theirs <= limit else '  EXCEEDED'}"
        print(f"{what:60} {ours:10.3f} {theirs:10.3f} {unit:4} {ours / theirs:6.2f}  {kept}")
    print(json.dumps({"at": at, "faces": arguments.faces, "measured": bench.measured}))


if __name__ == "__main__":
    main()
