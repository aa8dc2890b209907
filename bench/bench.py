"""`make bench-embedded`: what the service takes over its parts, one after the other, all in one run on one machine.

Fills a directory with synthetic faces, starts the service on it, searches by stored faces through each door, stops the service,
and measures the parts on a copy of its index and on the same disk. Prints a table of ratios with both figures, and JSON.
"""

import argparse
import datetime
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
READY_SECONDS_MAX = 3600
SETTLED_SECONDS_MAX = 3600
WARMUP_REQUESTS = 200
#: Of the tenant that floods: at most.
FLOOD_FACES = 20_000
FLOOD_CONNECTIONS = 64
FLOOD_SECONDS = 20
#: Searches a second of the tenant beside it.
STEADY_RATE = 20
#: Of a record in the durable log.
LOG_HEADER_BYTES = 24


def ran(command: list[object]) -> dict[str, object]:
    """What a program prints as JSON."""
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"error: {command[0]} ended with {done.returncode}")
    return json.loads(done.stdout)


def say(text: str) -> None:
    """One line of progress."""
    print(f"# {text}", file=sys.stderr, flush=True)


class Service:
    """A started service on a directory."""

    def __init__(self, programs: Path, data: Path, models: Path) -> None:
        ready = data.parent / "ready.json"
        ready.unlink(missing_ok=True)
        command = [programs / "vidimus", "serve", "--data", data, "--models", models, "--listen", "127.0.0.1:0"]
        command += ["--operators", "127.0.0.1:0", "--ready-file", ready]
        self.log = data.parent / "service.log"
        # One line a request would be most of the output; what is measured is a service that logs warnings.
        # Its tenant may ask as much as it can answer.
        rate = {"VIDIMUS__GATEWAY__TENANT_LIMITS__SEARCHES_PER_SECOND": "1000000"}
        environment = {"VIDIMUS__LOGS__FILTER": "warn", **rate, **os.environ}
        with self.log.open("wb") as log:
            words = [str(word) for word in command]
            self.process = subprocess.Popen(words, stdout=log, stderr=log, env=environment)
        began = time.monotonic()
        while not ready.exists():
            if self.process.poll() is not None or time.monotonic() - began > READY_SECONDS_MAX:
                sys.exit(f"error: the service did not start: see {self.log}")
            time.sleep(0.1)
        self.address = json.loads(ready.read_text())["tenants"]

    def cpu_seconds(self) -> float:
        """CPU time so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def settle(self) -> None:
        """Waits until it has nothing more to do: graphs are built in the background."""
        began, quiet = time.monotonic(), 0
        while quiet < 5:
            before = self.cpu_seconds()
            time.sleep(1)
            quiet = quiet + 1 if self.cpu_seconds() - before < 0.1 else 0
            if time.monotonic() - began > SETTLED_SECONDS_MAX:
                sys.exit("error: the service does not come to rest")

    def stop(self) -> None:
        """Ends it in order."""
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait(120) != 0:
            sys.exit(f"error: the service did not end in order: see {self.log}")


class Bench:
    """One run."""

    def __init__(self, arguments: argparse.Namespace, folder: Path) -> None:
        self.arguments = arguments
        self.folder = folder
        self.programs = arguments.programs
        self.gallery = folder / "gallery.json"
        #: Of the tenant that floods.
        self.flood_gallery = folder / "flood.json"
        self.data = folder / "data"
        self.measured: dict[str, object] = {}
        #: Searches of each run of the load generator.
        self.asked: list[int] = []

    def run(self) -> None:
        """Everything, in order."""
        faces = self.arguments.faces
        say(f"{faces} faces")
        self.data.mkdir()
        fill = [self.programs / "vidimus-gallery", "--data", self.data]
        made = ran([*fill, "--faces", faces])
        self.gallery.write_text(json.dumps(made))
        flood = ran([*fill, "--faces", min(faces, FLOOD_FACES), "--tenant", "flood", "--seed", 2])
        self.flood_gallery.write_text(json.dumps(flood))
        say("service: starts, projects, builds graphs")
        began = time.monotonic()
        service = Service(self.programs, self.data, self.arguments.models)
        service.settle()
        self.measured["projected_seconds"] = round(time.monotonic() - began, 1)
        self.doors(service)
        self.by_photo(service)
        # Those of searches by photo are longer or shorter than the others: the mean is taken over all.
        audit_bytes = self.audit_bytes(sum(self.asked))
        self.flood(service)
        service.stop()
        self.parts(Path(made["index"]), audit_bytes)
        if self.arguments.soak_seconds:
            # It takes long: what is known is said before.
            print(table(self), file=sys.stderr, flush=True)
            service = Service(self.programs, self.data, self.arguments.models)
            service.settle()
            self.soak(service)
            service.stop()

    def load(self, service: Service, *more: object) -> dict[str, object]:
        """Asks through a door."""
        command = [self.programs / "vidimus-load", "--gallery", self.gallery, "--address", service.address]
        told = ran([*command, "--pid", service.process.pid, "--warmup", WARMUP_REQUESTS, *more])
        self.asked.append(told["answered"] + WARMUP_REQUESTS)
        if told["errors"]:
            say(f"{told['errors']} errors: {told['error_texts']}")
        return told

    def doors(self, service: Service) -> None:
        """One connection, one request at a time, through each door."""
        for protocol in self.arguments.protocols:
            say(f"search by a stored face, {protocol}")
            requests = ["--requests", self.arguments.requests, "--seconds", 600]
            self.measured[protocol] = self.load(service, "--protocol", protocol, *requests)

    def by_photo(self, service: Service) -> None:
        """The same with a photo, over gRPC; then photos of two sizes through the encoder alone, on one thread, and its like in Python."""
        say("search by photo, grpc")
        photo = ["--photo", self.arguments.photo, "--requests", self.arguments.photos, "--seconds", 600]
        self.measured["photo"] = self.load(service, "--protocol", "grpc", *photo)
        large = self.folder / "large.jpg"
        say("photos of 12 megapixels")
        self.measured["large"] = self.encoders(large, 20, ["--write-large", large, self.arguments.photo])
        say("photos of the size of LFW")
        self.measured["small"] = self.encoders(self.small(), 4)

    def small(self) -> Path:
        """Photos of 250 by 250 pixels, as those of LFW: real ones where they are told, else the portrait shrunk."""
        if self.arguments.photos_folder:
            return self.arguments.photos_folder
        import cv2

        folder = self.folder / "small"
        folder.mkdir()
        portrait = cv2.imread(str(self.arguments.photo))
        for number in range(40):
            cv2.imwrite(str(folder / f"{number}.jpg"), cv2.resize(portrait, (250, 250), interpolation=cv2.INTER_AREA))
        return folder

    def encoders(self, photos: Path, repeats: int, first: list[object] | None = None) -> dict[str, object]:
        """Photos a second, ours and Python's, one after the other."""
        python = [sys.executable, ROOT / "bench/photos.py", *(first or []), self.models_folder(), photos, repeats]
        theirs = ran(python)
        os.environ["VIDIMUS_MODELS"] = str(self.arguments.models)
        ours = ran([self.programs / "examples/photos_per_second", photos, repeats])
        return {"ours": ours, "python": theirs}

    def models_folder(self) -> Path:
        """Where the folded models lie."""
        return self.arguments.models / "sface-2021dec"

    def soak(self, service: Service) -> None:
        """70 % of what it can do, for as long as told."""
        protocol = ["--protocol", self.arguments.protocols[0]]
        say("capacity")
        capacity = self.load(service, *protocol, "--connections", 8, "--seconds", 15)
        rate = 0.7 * capacity["a_second"]
        seconds = self.arguments.soak_seconds
        say(f"soak: {rate:.0f} searches a second for {seconds} s")
        soak = self.load(service, *protocol, "--connections", 64, "--rate", rate, "--seconds", seconds)
        self.measured |= {"capacity": capacity, "soak": soak}

    def flood(self, service: Service) -> None:
        """One tenant asks at a steady, slow rate; once alone, once while another asks as much as it can."""
        steady = ["--protocol", "grpc", "--connections", 4, "--rate", STEADY_RATE, "--seconds", FLOOD_SECONDS]
        say("a tenant alone")
        self.measured["quiet"] = self.load(service, *steady)
        say("the same while another tenant floods the service")
        command = [self.programs / "vidimus-load", "--gallery", self.flood_gallery, "--address", service.address]
        command += ["--protocol", "grpc", "--connections", FLOOD_CONNECTIONS, "--seconds", FLOOD_SECONDS + 10]
        with subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True) as flooding:
            # Its connections are made and its warm-up is over by then; it goes on for longer than what is measured.
            time.sleep(3)
            self.measured["flooded"] = self.load(service, *steady)
            self.measured["flood"] = json.loads(flooding.communicate()[0])

    def audit_bytes(self, searches: int) -> int:
        """The mean length of an audit record of so many searches: all that is in the topic."""
        files = (self.data / "log/topics/vidimus.audit").glob("*/*.log")
        return sum(path.stat().st_size for path in files) // searches - LOG_HEADER_BYTES

    def parts(self, index: Path, audit_bytes: int) -> None:
        """What no service can beat: the parts without a service around them, one after the other."""
        say(f"the parts, on a copy of the index; an audit record has {audit_bytes} bytes")
        copy = self.folder / "copy.index"
        shutil.copytree(index, copy)
        asked = ["--requests", self.arguments.requests, "--index", copy, "--gallery", self.gallery]
        asked += ["--log", self.folder / "parts-log", "--audit-bytes", audit_bytes, "--models", self.arguments.models]
        asked += ["--photo", self.arguments.photo, "--photos", self.arguments.photos]
        self.measured["parts"] = ran([self.programs / "examples/parts", *asked])
        say("brute force in Python")
        brute_force = [sys.executable, ROOT / "bench/brute_force.py", "--faces", self.arguments.faces]
        self.measured["brute_force"] = ran(brute_force)

    def ratios(self) -> list[tuple[str, float, float, str, float | None]]:
        """(what, ours, theirs, unit, the ratio to keep within)"""
        parts, brute = self.measured["parts"], self.measured["brute_force"]
        rows = []
        limits = {"json": 1.5, "grpc": 1.25}
        for door in self.arguments.protocols:
            told = self.measured[door]
            parts_ms = parts["in_turn"]["p50_ms"]
            rows.append((f"search, {door}: p50 over its parts in turn", told["p50_ms"], parts_ms, "ms", limits[door]))
            cpu = told["service_cpu_ms_each"]
            rows.append((f"search, {door}: CPU over the engine's", cpu, parts["engine"]["cpu_ms_each"], "ms", 1.25))
            lean = parts["lean_engine"]["p50_ms"] + parts_ms - parts["engine"]["p50_ms"]
            rows.append((f"search, {door}: p50 over the same with the engine asked as we ask", told["p50_ms"], lean, "ms", None))
            lean = parts["lean_engine"]["cpu_ms_each"]
            rows.append((f"search, {door}: CPU over the engine's, asked as we ask", cpu, lean, "ms", None))
            for name in ["as_compreface", "fastest"]:
                what = f"search, {door}: p50 over brute force, {name.replace('_', ' ')}"
                rows.append((what, told["p50_ms"], brute[name]["p50_ms"], "ms", None))
        by_photo, parts_ms = self.measured["photo"]["p50_ms"], parts["photo"]["p50_ms"]
        rows.append(("search by photo, grpc: p50 over its parts in turn", by_photo, parts_ms, "ms", 1.10))
        for name, what, least in [("small", "250 × 250", 1.0), ("large", "12 megapixels", 1.5)]:
            ours, theirs = (self.measured[name][who]["photos_per_second"] for who in ["ours", "python"])
            # Turned over, so that less is better as in every row.
            rows.append((f"a photo of {what}: time over Python's", 1000 / ours, 1000 / theirs, "ms", 1 / least))
        quiet, flooded = (self.measured[name] for name in ["quiet", "flooded"])
        for quantile in ["p50_ms", "p99_ms"]:
            what = f"another tenant's flood: {quantile[:3]} of a search over that without"
            rows.append((what, flooded[quantile], quiet[quantile], "ms", None))
        if "soak" in self.measured:
            soak = self.measured["soak"]
            rows.append(("soak: p99 over p50", soak["p99_ms"], soak["p50_ms"], "ms", 4.0))
            memory = soak["service_resident_bytes"]
            late, early = memory["last_quarter"] / 2**20, memory["second_quarter"] / 2**20
            rows.append(("soak: memory of the last quarter over the second", late, early, "MiB", 1.05))
        return rows


def machine() -> str:
    """Which processor, and how many of it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{names[0] if names else platform.processor()}, {len(names)} threads, {memory:.0f} GiB"


def table(bench: Bench) -> str:
    """The ratios, with both figures."""
    lines = [f"{'':66} {'ours':>10} {'theirs':>10}      {'ratio':>6}  {'at most':>7}"]
    for what, ours, theirs, unit, limit in bench.ratios():
        kept = "" if limit is None else f"{limit:7.2f}{'' if ours / theirs <= limit else '  EXCEEDED'}"
        lines.append(f"{what:66} {ours:10.3f} {theirs:10.3f} {unit:4} {ours / theirs:6.2f}  {kept}")
    return "\n".join(lines)


def main() -> None:
    """Runs it, and prints the table; the JSON goes to a file or follows it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--programs", type=Path, required=True, help="folder of the built programs")
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--faces", type=int, default=100_000)
    parser.add_argument("--requests", type=int, default=2_000)
    parser.add_argument("--photo", type=Path, required=True, help="a portrait")
    parser.add_argument("--photos", type=int, default=200, help="searches by photo")
    parser.add_argument("--photos-folder", type=Path, help="photos of the size of LFW, in folders")
    parser.add_argument("--protocols", type=lambda text: text.split(","), default=["grpc", "json"])
    parser.add_argument("--soak-seconds", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where to work; a temporary folder by default")
    parser.add_argument("--json", type=Path, help="where the JSON goes")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="bench-") as folder:
        bench = Bench(arguments, Path(folder))
        bench.run()
    told = {
        "machine": machine(),
        "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "faces": arguments.faces,
        "measured": bench.measured,
        "ratios": {what: ours / theirs for what, ours, theirs, _, _ in bench.ratios()},
    }
    print(f"{told['machine']}, {told['at']}, {arguments.faces} faces\n{table(bench)}")
    if arguments.json:
        arguments.json.write_text(json.dumps(told, indent=2) + "\n")
    else:
        print(json.dumps(told))


if __name__ == "__main__":
    main()
