"""A service of separate processes, one for each role, over Kafka, SeaweedFS and qdrant-dev, or the Qdrant that QDRANT_URL names.

The servers are started once for all tests; each service has names of its own there.
"""

import itertools
import secrets
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import boto3
import guard
from botocore.config import Config
from service import PATIENT, STOP_SECONDS_MAX, EmbeddedService, binary, models

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/stack"))

from components import BUCKET, Backing, CannotStart, named_qdrant  # noqa: E402, F401
from processes import Processes  # noqa: E402

# What names begin with that no other run of the tests may have: a server that is named holds other things too.
_run = f"test-{secrets.token_hex(6)}"
_numbers = itertools.count(1)
_backing: Backing | None = None


def start_backing() -> None:
    """Starts the servers."""
    global _backing
    folder = Path(tempfile.mkdtemp(prefix="vidimus-e2e-"))
    guard.remove_at_end(folder)
    _backing = Backing(folder, named_qdrant=named_qdrant())
    _backing.start()


def backing() -> Backing:
    """The servers that run."""
    assert _backing is not None
    return _backing


def stop_backing() -> None:
    """Ends the servers and removes what they hold, and what one that was named has of these tests."""
    global _backing
    if _backing is not None:
        try:
            if _backing.named_qdrant is not None:
                _backing.named_qdrant.drop(_run)
        finally:
            _backing.stop()
            shutil.rmtree(_backing.folder, ignore_errors=True)
            _backing = None


class DistributedService(EmbeddedService):
    """One process for each role; what they have in common outlives them."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.name = f"{_run}-{next(_numbers)}"
        self.lost = itertools.count(1)
        self.processes = Processes(folder / "processes")
        # What is written counts as durable after the shortest time that there may be: moves and returning processes wait for it.
        self.settings = {**_backing.settings(self.name), "VIDIMUS__QDRANT__DURABLE_AFTER": "10s"}

    def start(self) -> None:
        """Starts every process and waits until each says that it is ready."""
        try:
            self.processes.start(self.own_settings(), models(), binary())
        except BaseException:
            self.close()
            raise
        [gateway] = self.processes.of("gateway")
        self.process = gateway.popen
        self.log = self.processes.log(gateway)
        self.address, self.operators = gateway.said["tenants"], gateway.said["operators"]

    def own_settings(self) -> dict[str, str]:
        """What all its processes are told."""
        return {**PATIENT, **self.settings, **self.environment}

    def shared_settings(self) -> dict[str, str]:
        """The same, and where they find each other."""
        return self.processes.shared(self.own_settings())

    def stop(self, with_signal: signal.Signals = signal.SIGTERM) -> int:
        """Ends every process by its id, callers first; the first exit status that is not that of an orderly end."""
        members = [member for member in reversed(self.processes.members) if member.popen is not None]
        statuses = []
        for member in members:
            member.popen.send_signal(with_signal)
            try:
                statuses.append(member.popen.wait(STOP_SECONDS_MAX))
            except Exception:
                member.popen.kill()
                member.popen.wait()
                raise AssertionError(f"{member.name} is still there:\n{self.processes.log_end(member)}") from None
            member.popen = None
        self.process = None
        return next((status for status in statuses if status != 0), 0)

    def close(self) -> None:
        """Ends what is left."""
        for member in self.processes.members:
            if member.popen is not None and member.popen.poll() is None:
                member.popen.kill()
                member.popen.wait()

    def admin_flags(self) -> list[str]:
        return []

    def index_collections(self) -> set[str]:
        prefix = f"{self.name}-"
        return {name.removeprefix(prefix) for name in backing().qdrant.collections(prefix)}

    def admin_environment(self) -> dict[str, str]:
        return {**self.settings, **self.processes.admin_settings()}

    def page_of(self, role: str, path: str) -> tuple[int, str]:
        """A page of the operators' port of the role's first process."""
        return self.page_at(self.processes.of(role)[0].said["operators"], path)

    def _s3(self):
        return boto3.client("s3", config=Config(s3={"addressing_style": "path"}), **_backing.s3_client())

    def _listed(self) -> dict[str, dict]:
        pages = self._s3().get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{self.name}/")
        return {
            entry["Key"].removeprefix(f"{self.name}/"): entry for page in pages for entry in page.get("Contents", [])
        }

    def objects(self) -> set[str]:
        return set(self._listed())

    def written(self) -> dict[str, object]:
        return {key: (entry["ETag"], entry["LastModified"]) for key, entry in self._listed().items()}

    def read_object(self, key: str) -> bytes:
        return self._s3().get_object(Bucket=BUCKET, Key=f"{self.name}/{key}")["Body"].read()

    def write_object(self, key: str, content: bytes) -> None:
        self._s3().put_object(Bucket=BUCKET, Key=f"{self.name}/{key}", Body=content)

    def put_import(self, path: str, content: bytes) -> None:
        self._s3().put_object(Bucket=BUCKET, Key=f"{self.name}-imports/{path}", Body=content)

    def lose(self, part: str) -> None:
        """What nobody can name any more is as good as gone."""
        name = f"{self.name}-{next(self.lost)}"
        if part == "index":
            self.settings["VIDIMUS__QDRANT__COLLECTION_PREFIX"] = f"{name}-"
        else:
            self.settings["VIDIMUS__KAFKA__TOPIC_PREFIX"] = f"{name}."
