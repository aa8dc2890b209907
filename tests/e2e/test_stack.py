"""`make stack` and `make stack-down`, in a folder of their own: it comes up, answers, and leaves nothing."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import guard
import pytest
from asking import enrol, search
from service import EmbeddedService, Key, cache, is_distributed, models

pytestmark = pytest.mark.distributed

if is_distributed():
    from components import SCRIPTS, is_alive, is_of, listens

SECONDS_MAX = 180
# What the stack takes from the cache, in which its folder is.
TAKEN = ["stack", "venv", "assets"]


class Stack:
    """The scripts, with a cache of their own."""

    def __init__(self, folder: Path) -> None:
        self.run_folder = folder / "stack-run"
        self.environment = {**os.environ, "VIDIMUS_CACHE": str(folder), "VIDIMUS_MODELS": str(models())}
        for name in TAKEN:
            (folder / name).symlink_to(cache() / name)

    def ran(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Runs `stack.py …` to its end."""
        command = [sys.executable, str(SCRIPTS / "stack.py"), *words]
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=SECONDS_MAX, check=False
        )

    def said(self, *words: str) -> str:
        """The same; what it says."""
        ran = self.ran(*words)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    def key(self, tenant: str) -> Key:
        """A new tenant's key."""
        self.said("admin", "tenant", "create", tenant)
        made = json.loads(self.said("admin", "key", "create", tenant, "--json"))
        return Key(made["access_key_id"], made["secret_access_key"])

    def pids(self) -> list[int]:
        """The processes that were started with something in its folder."""
        numbers = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
        return [pid for pid in numbers if is_of(pid, self.run_folder)]

    def ports(self) -> list[int]:
        """Where it says that it listens."""
        backing = json.loads((self.run_folder / "backing/backing.json").read_text())
        ready = [json.loads(file.read_text()) for file in self.run_folder.glob("vidimus/*.ready.json")]
        addresses = [said[name] for said in ready for name in ("tenants", "roles", "operators") if said.get(name)]
        servers = [backing[name] for name in ("s3_port", "qdrant_port") if name in backing]
        return [*backing["kafka_ports"], *servers, *(int(address.rpartition(":")[2]) for address in addresses)]


@pytest.fixture
def stack():
    """A stack that is not up; its path is short, for servers have sockets in it."""
    with tempfile.TemporaryDirectory(prefix="vidimus-e2e-stack-", ignore_cleanup_errors=True) as folder:
        guard.remove_at_end(Path(folder))
        made = Stack(Path(folder))
        try:
            yield made
        finally:
            made.ran("down")


def test_it_comes_up_answers_and_leaves_nothing(stack, folder, photos) -> None:
    stack.said("up")
    assert stack.said("status").count(" runs") == len(list(stack.run_folder.glob("vidimus/*.pid")))
    again = stack.ran("up")
    assert again.returncode == 1 and "a stack is there already" in again.stderr, again

    service = EmbeddedService(folder)
    service.address = json.loads((stack.run_folder / "stack.json").read_text())["tenants"]
    client = service.client(stack.key("first"), retries=5)
    client.create_collection(CollectionId="staff")
    [obama] = enrol(client, "staff", photos.obama, "obama")
    assert search(client, "staff", photos.obama2) == [obama]

    pids, ports = stack.pids(), stack.ports()
    assert len(pids) >= 9 and all(map(listens, ports)), (pids, ports)
    assert "nothing of it is left" in stack.said("down")
    assert not stack.run_folder.exists()
    assert not [pid for pid in pids if is_alive(pid) and is_of(pid, stack.run_folder)]
    assert not list(filter(listens, ports)), ports
    assert not [socket for port in ports for socket in Path("/tmp").glob(f"seaweedfs-*-grpc-{port + 1}.sock")]


def test_what_it_leaves_is_said(stack) -> None:
    kept = stack.run_folder / "vidimus/kept"
    kept.mkdir(parents=True)
    (stack.run_folder / "elsewhere.json").write_text(json.dumps({"url": "http://127.0.0.1:1", "prefix": "stack-"}))
    down = stack.ran("down")
    assert down.returncode == 1 and "stack-* are left at http://127.0.0.1:1" in down.stderr, down
    assert kept.exists()
    (stack.run_folder / "elsewhere.json").unlink()


def test_no_process_of_somebody_elses_is_ended(stack) -> None:
    stranger = subprocess.Popen(["sleep", "60"])
    backing = stack.run_folder / "backing"
    for file in [backing / "seaweedfs/pid", backing / "kafka/broker-0.pid", stack.run_folder / "vidimus/query-0.pid"]:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(str(stranger.pid))
    said = {"s3_port": 1, "s3_folder": str(backing / "seaweedfs"), "qdrant_pid": stranger.pid, "kafka_pids": [stranger.pid]}
    (backing / "backing.json").write_text(json.dumps(said))
    try:
        stack.said("down")
        assert stranger.poll() is None
        assert not stack.run_folder.exists()
    finally:
        stranger.kill()
        stranger.wait()
