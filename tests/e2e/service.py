"""A started service, and what an operator does with it: one process on a directory of its own, or one process for each role over
the servers of the distributed mode (`VIDIMUS_DEPLOYMENT=distributed`). Tests need not know which."""

import json
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import boto3
import urllib3
from botocore.config import Config

REGION = "eu-central-1"
START_SECONDS_MAX = 60
STOP_SECONDS_MAX = 30
# On a busy machine a second is not always enough for what a test enrols to be searchable in the next line.
PATIENT = {"VIDIMUS__INGESTION__SEARCHABLE_WAIT": "10s"}


def cache() -> Path:
    """Where downloads and builds are kept."""
    return Path(os.environ.get("VIDIMUS_CACHE", Path.home() / ".cache/vidimus"))


def binary() -> Path:
    """The built program: `VIDIMUS_BINARY`, or the one in `VIDIMUS_PROGRAMS`."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", cache() / "target"))
    programs = Path(os.environ.get("VIDIMUS_PROGRAMS", target / "debug"))
    return Path(os.environ.get("VIDIMUS_BINARY", programs / "vidimus"))


def models() -> Path:
    """The imported face models."""
    return Path(os.environ.get("VIDIMUS_MODELS", cache() / "models"))


@dataclass(frozen=True)
class Key:
    """An access key as `vidimus admin key create --json` prints it."""

    access_key_id: str
    secret_access_key: str


class EmbeddedService:
    """One process, started and ended by this object; its directory outlives it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.log = folder / "service.log"
        self.process: subprocess.Popen[bytes] | None = None
        # Settings of the service besides its flags.
        self.environment: dict[str, str] = {}
        self.address = ""
        self.operators = ""

    def start(self) -> None:
        """Starts it and waits until it says that it is ready."""
        ready = self.folder / "ready.json"
        ready.unlink(missing_ok=True)
        with self.log.open("ab") as log:
            environment = {**PATIENT, **os.environ, **self.environment}
            self.process = subprocess.Popen(
                self.serve_command() + ["--ready-file", str(ready)], stdout=log, stderr=log, env=environment
            )
        try:
            self._await_ready(self.process, ready)
        except BaseException:
            # Whoever is not told that it is there does not end it.
            self.process.kill()
            self.process.wait()
            raise
        said = json.loads(ready.read_text())
        assert said["pid"] == self.process.pid
        self.address, self.operators = said["tenants"], said["operators"]

    def _await_ready(self, process: subprocess.Popen[bytes], ready: Path) -> None:
        deadline = time.monotonic() + START_SECONDS_MAX
        while not ready.exists():
            if process.poll() is not None:
                raise AssertionError(f"it ended with {process.returncode}:\n{self.log_end()}")
            if time.monotonic() > deadline:
                raise AssertionError(f"not ready after {START_SECONDS_MAX} s:\n{self.log_end()}")
            time.sleep(0.02)

    def serve_command(self) -> list[str]:
        """The command line, on free ports of this machine alone."""
        folders = ["--data", str(self.data), "--models", str(models())]
        return [str(binary()), "serve", *folders, "--listen", "127.0.0.1:0", "--operators", "127.0.0.1:0"]

    def stop(self, with_signal: signal.Signals = signal.SIGTERM) -> int:
        """Ends it by its id; its exit status."""
        assert self.process is not None
        self.process.send_signal(with_signal)
        try:
            status = self.process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"still there {STOP_SECONDS_MAX} s after {with_signal.name}:\n{self.log_end()}")
        self.process = None
        return status

    def close(self) -> None:
        """Ends it, however a test left it."""
        if self.process is not None and self.process.poll() is None:
            self.stop()

    def log_end(self) -> str:
        """The last lines of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-40:])

    def admin(self, *words: str) -> object:
        """Runs `vidimus admin …`; what it prints, read as JSON."""
        ran = self.run_admin(*words, "--json")
        assert ran.returncode == 0, f"{' '.join(words)}: {ran.stderr}\n{ran.stdout}"
        return json.loads(ran.stdout) if ran.stdout.strip() else None

    def admin_refusal(self, *words: str) -> str:
        """Runs `vidimus admin …`, which must fail; what it says."""
        ran = self.run_admin(*words)
        assert ran.returncode != 0, ran.stdout
        return ran.stderr

    def run_admin(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Runs `vidimus admin …` to its end."""
        command = [str(binary()), "admin", *words, *self.admin_flags()]
        environment = {**os.environ, **self.admin_environment()}
        return subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=False, env=environment
        )

    def admin_flags(self) -> list[str]:
        """The flags that say which service is meant."""
        return ["--data", str(self.data)]

    def index_collections(self) -> set[str]:
        """The index collections that there are."""
        return {path.stem for path in (self.data / "index").glob("*.index")}

    def admin_environment(self) -> dict[str, str]:
        """The settings that say which service is meant."""
        return {}

    def new_tenant(self, name: str) -> Key:
        """Makes a tenant and its first key."""
        self.admin("tenant", "create", name)
        return self.new_key(name)

    def new_key(self, tenant: str) -> Key:
        """Makes a further key of a tenant."""
        made = self.admin("key", "create", tenant)
        return Key(made["access_key_id"], made["secret_access_key"])

    def client(self, key: Key, retries: int = 0, validate: bool = True, verify: str | None = None):
        """An unmodified boto3 client of this service; over TLS where it is told whom to trust."""
        config = Config(
            retries={"total_max_attempts": retries + 1, "mode": "standard"},
            parameter_validation=validate,
            read_timeout=60,
        )
        return boto3.client(
            "rekognition",
            endpoint_url=f"{'https' if verify else 'http'}://{self.address}",
            verify=verify,
            region_name=REGION,
            aws_access_key_id=key.access_key_id,
            aws_secret_access_key=key.secret_access_key,
            config=config,
        )

    def operators_page(self, path: str) -> tuple[int, str]:
        """A page of the operators' port: its status and text."""
        return self.page_at(self.operators, path)

    @staticmethod
    def page_at(operators: str, path: str) -> tuple[int, str]:
        """A page of an operators' port."""
        answer = urllib3.request("GET", f"http://{operators}{path}", retries=False, timeout=10.0)
        return answer.status, answer.data.decode()

    def page_of(self, role: str, path: str) -> tuple[int, str]:
        """A page of the operators' port of a process that has the role."""
        return self.operators_page(path)

    def objects(self) -> set[str]:
        """The keys of all objects: records, photos, catalog, audit batches."""
        place = self.data / "blobs/objects"
        return {str(path.relative_to(place)) for path in place.rglob("*") if path.is_file()}

    def written(self) -> dict[str, object]:
        """Every object by its key, with what changes when it is written again."""
        place = self.data / "blobs"
        files = (path for path in place.rglob("*") if path.is_file())
        return {str(path.relative_to(place)): path.stat().st_mtime_ns for path in files}

    def stored(self) -> set[str]:
        """The keys of every record and photo."""
        return {key for key in self.objects() if {"records", "photos"} & set(key.split("/"))}

    def read_object(self, key: str) -> bytes:
        """An object as it is stored."""
        return (self.data / "blobs/objects" / key).read_bytes()

    def write_object(self, key: str, content: bytes) -> None:
        """Overwrites an object behind the service's back."""
        (self.data / "blobs/objects" / key).write_bytes(content)

    def put_import(self, path: str, content: bytes) -> None:
        """Puts a photo where tenants may name it once an administrator lets them."""
        file = self.data / "imports" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)

    def lose(self, part: str) -> None:
        """Loses the `index` or the `log` of a service that does not run."""
        shutil.rmtree(self.data / part)


def _deployment() -> type[EmbeddedService]:
    if os.environ.get("VIDIMUS_DEPLOYMENT", "embedded") == "embedded":
        return EmbeddedService
    from distributed import DistributedService

    return DistributedService


def is_distributed() -> bool:
    """Whether the tests run against separate processes."""
    return os.environ.get("VIDIMUS_DEPLOYMENT", "embedded") != "embedded"


def __getattr__(name: str):
    # Late, since the distributed service is an embedded one with other ways.
    if name == "Service":
        return _deployment()
    raise AttributeError(name)
