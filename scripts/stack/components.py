"""The servers that the distributed mode stands on, started on this machine: Apache Kafka, SeaweedFS, and qdrant-dev for Qdrant where
no server is named.

Each lives in a folder of its own, listens on 127.0.0.1 alone, and is ended by its process id.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from qdrant import QdrantServer

SCRIPTS = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("VIDIMUS_CACHE", Path.home() / ".cache/vidimus"))
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", CACHE / "target"))
# Other programs may keep the machine busy.
START_SECONDS_MAX = 120
END_SECONDS_MAX = 20
BUCKET = "vidimus"
# In the order in which they are started.
SERVERS = ["qdrant", "kafka", "s3"]
# Ports are reserved in blocks of so many.
BLOCK_PORTS = 20
# SeaweedFS takes this many ports in a row, and one more this far above the last.
SEAWEEDFS_PORTS = 10
SEAWEEDFS_FAR_PORT = 10009


class CannotStart(Exception):
    """What is missing, or did not start, in one line."""


def program(name: str) -> Path:
    """A program of this workspace."""
    return Path(os.environ.get("VIDIMUS_PROGRAMS", TARGET / "debug")) / name


def missing() -> list[str]:
    """What this machine lacks, each with what mends it."""
    found = []
    if not shutil.which("java"):
        found.append("java (apt-get install -y openjdk-17-jre-headless)")
    if not (CACHE / "stack/kafka/.stamp").exists():
        maven = "" if shutil.which("mvn") else "maven (apt-get install -y maven), then "
        found.append(f"{maven}Kafka's jars (scripts/stack/kafka_install.sh)")
    if not (CACHE / "stack/seaweedfs/weed").exists():
        found.append("SeaweedFS (make seaweedfs)")
    if not Path("/usr/include/openssl/ssl.h").exists():
        found.append("OpenSSL's headers (apt-get install -y libssl-dev)")
    for name in ["vidimus", "qdrant-dev"]:
        if not program(name).exists():
            found.append(f"{program(name)} (make build)")
    return found


def is_free(port: int) -> bool:
    """Whether nobody listens on a port of this machine."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


LOCKS = Path(tempfile.gettempdir()) / f"vidimus-ports-{os.getuid()}"
# Locks on blocks of ports; they end with this process.
_held: list = []


def lock(path: Path):
    """The file, locked until it is closed; none where somebody else has it locked."""
    while True:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        try:
            file = open(path, "w")
        except FileNotFoundError:
            # The folder was removed since.
            continue
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except FileNotFoundError:
            pass
        except OSError:
            file.close()
            return None
        # Whoever held it has removed it: a lock on it keeps nobody out.
        file.close()


def reserve(ports: list[int]) -> bool:
    """Keeps other runs of these scripts from taking these ports while this one lives: nobody may listen there yet, or for a while."""
    held = []
    for block in sorted({port // BLOCK_PORTS * BLOCK_PORTS for port in ports}):
        file = lock(LOCKS / str(block))
        if file is None:
            for locked in held:
                locked.close()
            return False
        held.append(file)
    _held.extend(held)
    return True


def remove_unheld_locks() -> None:
    """Removes the locks on ports that nobody holds any more, and their folder with the last one."""
    for path in list(LOCKS.glob("*")):
        file = lock(path)
        if file is not None:
            path.unlink()
            file.close()
    with contextlib.suppress(OSError):
        LOCKS.rmdir()


def free_ports(count: int, beside: tuple[int, ...] = ()) -> int:
    """The first of so many free ports in a row, with those `beside` it free too; below the ports that the system gives by itself."""
    start = 20000 + os.getpid() % 500 * BLOCK_PORTS
    for first in [*range(start, 31000, BLOCK_PORTS), *range(11000, start, BLOCK_PORTS)]:
        wanted = [*range(first, first + count), *(first + offset for offset in beside)]
        if all(is_free(port) for port in wanted) and reserve(wanted):
            return first
    raise CannotStart("no free ports are left")


def wait_until(done, process: subprocess.Popen | None, what: str) -> None:
    """Waits until something is so, while the process lives."""
    deadline = time.monotonic() + START_SECONDS_MAX
    while not done():
        if process is not None and process.poll() is not None:
            raise CannotStart(f"{what} ended with {process.returncode}")
        if time.monotonic() > deadline:
            raise CannotStart(f"{what} is not ready after {START_SECONDS_MAX} s")
        time.sleep(0.05)


def listens(port: int) -> bool:
    """Whether somebody accepts connections there."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def is_alive(pid: int) -> bool:
    """Whether there is such a process that has not ended: a first thread that has may leave others, which keep its ports."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    # From the third field on; the twentieth is the number of threads (proc_pid_stat(5)).
    fields = status.rpartition(")")[2].split()
    return fields[0] != "Z" or int(fields[17]) > 1


def end(pid: int) -> None:
    """Ends a process, in order where it does so in time."""
    for how in [signal.SIGTERM, signal.SIGKILL]:
        deadline = time.monotonic() + END_SECONDS_MAX
        try:
            os.kill(pid, how)
            # A child of ours stays until it is waited for.
            while is_alive(pid) and time.monotonic() < deadline:
                try:
                    os.waitpid(pid, os.WNOHANG)
                except ChildProcessError:
                    pass
                time.sleep(0.05)
        except ProcessLookupError:
            return
        if not is_alive(pid):
            return


def is_of(pid: int, folder: Path) -> bool:
    """Whether a process was started with something in a folder: the number of one that ended may be another's by now."""
    try:
        return f"{folder}/".encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def await_end(pid: int) -> None:
    """Waits for a process that was killed."""
    deadline = time.monotonic() + END_SECONDS_MAX
    while is_alive(pid):
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        if time.monotonic() > deadline:
            raise CannotStart(f"process {pid} is still there")
        time.sleep(0.02)


def named_qdrant() -> QdrantServer | None:
    """The server that `QDRANT_URL` names, with `QDRANT_API_KEY` where it wants a key."""
    if not os.environ.get("QDRANT_URL"):
        return None
    try:
        return QdrantServer.at(os.environ["QDRANT_URL"], os.environ.get("QDRANT_API_KEY"))
    except ValueError as error:
        raise CannotStart(f"QDRANT_URL: {error}") from None


class Backing:
    """Kafka, SeaweedFS and qdrant-dev in one folder, which knows their process ids. A Qdrant that is named takes qdrant-dev's place."""

    def __init__(self, folder: Path, brokers: int = 1, named_qdrant: QdrantServer | None = None) -> None:
        self.folder = folder
        self.brokers = brokers
        self.named_qdrant = named_qdrant
        # What the servers are told in their environment.
        self.environment: dict[str, str] = {}
        self.file = folder / "backing.json"
        self.said: dict = json.loads(self.file.read_text()) if self.file.exists() else {}

    def start(self) -> None:
        """Starts them and waits until they answer."""
        lacking = missing()
        if lacking:
            raise CannotStart("missing: " + "; ".join(lacking))
        if self.named_qdrant is not None:
            self._ask_named_qdrant()
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            for name in SERVERS:
                if name != "qdrant" or self.named_qdrant is None:
                    self.start_one(name)
        except BaseException:
            self.stop()
            raise

    def _ask_named_qdrant(self) -> None:
        import grpc

        try:
            self.named_qdrant.collections("")
        except grpc.RpcError as error:
            raise CannotStart(f"Qdrant at {self.named_qdrant.url}: {error.code().name}: {error.details()}") from None

    def start_one(self, name: str, wait: bool = True) -> None:
        """Starts one server: where it was before, on what it had, if it was there before. `kafka-N` is one broker."""
        if name.startswith("kafka-"):
            self._start_kafka(wait, broker=int(name.removeprefix("kafka-")))
            return
        {"qdrant": self._start_qdrant, "kafka": self._start_kafka, "s3": self._start_seaweedfs}[name](wait)

    def broker_names(self) -> list[str]:
        """The brokers, each by its name."""
        return [f"kafka-{broker}" for broker in range(self.brokers)]

    def pids(self, name: str) -> list[int]:
        """The processes of one server that live."""
        match name:
            case "qdrant":
                pid = self.said["qdrant_pid"]
            case "s3":
                pid = int((Path(self.said["s3_folder"]) / "pid").read_text())
            case "kafka":
                return [pid for broker in self.broker_names() for pid in self.pids(broker)]
            case _:
                pid = int((self.folder / f"kafka/{name.replace('kafka', 'broker')}.pid").read_text())
        return [pid] if is_of(pid, self.folder) else []

    def all_pids(self) -> list[int]:
        """Every process that lives: the scripts that keep the brokers first, then brokers, whose script may be gone."""
        brokers = [int(file.read_text()) for file in self.folder.glob("kafka/broker-*.pid")]
        seaweedfs = [int(file.read_text()) for file in self.folder.glob("seaweedfs/pid")]
        pids = [*self._kafka_scripts(), *brokers, self.said.get("qdrant_pid", 0), *seaweedfs]
        return [pid for pid in pids if is_of(pid, self.folder)]

    def kill_one(self, name: str) -> None:
        """Kills one server (SIGKILL), and leaves what it holds."""
        pids = self.pids(name)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if name == "kafka":
            # The scripts that keep the brokers end when they have.
            for pid in self._kafka_scripts():
                end(pid)
        for pid in pids:
            await_end(pid)

    def _say(self, **what) -> None:
        self.said.update(what)
        self.file.write_text(json.dumps(self.said))

    def _start_kafka(self, wait: bool, broker: int | None = None) -> None:
        try:
            self._start_brokers(wait, broker)
        except CannotStart as error:
            raise CannotStart(f"{error}; its log ends so: {self._log_end('kafka.log')}") from None

    def _log_end(self, name: str) -> str:
        log = self.folder / name
        return " | ".join(log.read_text(errors="replace").splitlines()[-5:]) if log.exists() else "there is none"

    def _start_brokers(self, wait: bool, broker: int | None) -> None:
        first = self.said["kafka_ports"][0] if "kafka_ports" in self.said else free_ports(2 * self.brokers)
        folder = self.folder / "kafka"
        command = ["bash", str(SCRIPTS / "kafka.sh"), str(folder), str(self.brokers), str(first)]
        process = self._spawn([*command, *([] if broker is None else [str(broker)])], "kafka.log")
        self._say(kafka_pids=[process.pid, *self._kafka_scripts()], kafka_ports=[first + 2 * number for number in range(self.brokers)])
        if wait:
            ports = self.said["kafka_ports"] if broker is None else [self.said["kafka_ports"][broker]]
            wait_until(lambda: all(map(listens, ports)), process, "Kafka")

    def _kafka_scripts(self) -> list[int]:
        """The scripts that keep brokers: one of all, and one of each broker that was started by itself."""
        return [pid for pid in self.said.get("kafka_pids", []) if is_of(pid, self.folder)]

    def _start_seaweedfs(self, wait: bool) -> None:
        port = self.said["s3_port"] if "s3_port" in self.said else free_ports(SEAWEEDFS_PORTS, (SEAWEEDFS_FAR_PORT,))
        folder = self.folder / "seaweedfs"
        self._say(s3_port=port, s3_folder=str(folder))
        self._seaweedfs(f'seaweedfs_start "{folder}" {port} {BUCKET}')
        if wait:
            wait_until(self._has_bucket, None, "the bucket")

    def _has_bucket(self) -> bool:
        """Whether the bucket is there: the server answers before it has made it."""
        import boto3
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            boto3.client("s3", **self.s3_client()).head_bucket(Bucket=BUCKET)
        except (BotoCoreError, ClientError):
            return False
        return True

    def _seaweedfs(self, call: str) -> None:
        source = f'. "{SCRIPTS / "seaweedfs.sh"}" && {call}'
        ran = subprocess.run(["bash", "-c", source], stderr=subprocess.PIPE, text=True, check=False)
        if ran.returncode != 0:
            raise CannotStart(ran.stderr.strip().splitlines()[-1] if ran.stderr.strip() else "SeaweedFS failed")

    def _start_qdrant(self, wait: bool) -> None:
        folder = self.folder / "qdrant"
        ready = self.folder / "qdrant.ready"
        ready.unlink(missing_ok=True)
        port = self.said["qdrant_port"] if "qdrant_port" in self.said else free_ports(1)
        command = [str(program("qdrant-dev")), "--data", str(folder), "--listen", f"127.0.0.1:{port}"]
        process = self._spawn([*command, "--ready-file", str(ready)], "qdrant.log")
        self._say(qdrant_pid=process.pid, qdrant_port=port)
        if wait:
            wait_until(ready.exists, process, "qdrant-dev")

    def _spawn(self, command: list[str], log: str) -> subprocess.Popen:
        with (self.folder / log).open("ab") as lines:
            return subprocess.Popen(
                command,
                stdout=lines,
                stderr=lines,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **self.environment},
                start_new_session=True,
            )

    def stop(self) -> None:
        """Ends what runs; what it holds stays."""
        for pid in self.all_pids():
            # By the time that it is its turn, another may have ended it.
            if is_of(pid, self.folder):
                end(pid)
        if "s3_port" in self.said:
            try:
                self._seaweedfs(f'seaweedfs_forget "{self.said["s3_folder"]}" {self.said["s3_port"]}')
            except CannotStart as error:
                print(f"error: {error}", file=sys.stderr)
        # Whoever tries again must know what is left.
        if not self.all_pids():
            self.file.unlink(missing_ok=True)

    @property
    def qdrant(self) -> QdrantServer:
        """The index's server."""
        return self.named_qdrant or QdrantServer("127.0.0.1", self.said["qdrant_port"])

    @property
    def s3_endpoint(self) -> str:
        """The S3 server's URL."""
        return f"http://127.0.0.1:{self.said['s3_port']}"

    @property
    def s3_credentials_file(self) -> Path:
        """Its credentials, in AWS's format."""
        return Path(self.said["s3_folder"]) / "credentials"

    def s3_client(self) -> dict[str, str]:
        """What an S3 client is made with."""
        lines = (line.split(" = ") for line in self.s3_credentials_file.read_text().splitlines() if " = " in line)
        return {"endpoint_url": self.s3_endpoint, "region_name": "us-east-1", **dict(lines)}

    def settings(self, name: str) -> dict[str, str]:
        """Settings of a service that shares the servers with others: everything of it begins with its name."""
        brokers = ",".join(f"127.0.0.1:{port}" for port in self.said["kafka_ports"])
        return {
            "VIDIMUS__BLOBS": f"s3://{BUCKET}/{name}",
            "VIDIMUS__IMPORTS": f"s3://{BUCKET}/{name}-imports",
            "VIDIMUS__S3__ENDPOINT": self.s3_endpoint,
            "VIDIMUS__S3__REGION": "us-east-1",
            "VIDIMUS__S3__FORCE_PATH_STYLE": "true",
            "VIDIMUS__S3__CREDENTIALS_FILE": str(self.s3_credentials_file),
            "VIDIMUS__LOG": f"kafka://{brokers}",
            "VIDIMUS__KAFKA__TOPIC_PREFIX": f"{name}.",
            "VIDIMUS__KAFKA__PARTITIONS": "4",
            "VIDIMUS__KAFKA__REPLICATION_FACTOR": str(self.brokers),
            "VIDIMUS__KAFKA__MIN_INSYNC_REPLICAS": "2" if self.brokers == 3 else "1",
            "VIDIMUS__INDEX": self.qdrant.index,
            "VIDIMUS__QDRANT__COLLECTION_PREFIX": f"{name}-",
            **self._qdrant_key(),
        }

    @property
    def qdrant_key_file(self) -> Path:
        """Where the API key lies, where there is one."""
        return self.folder / "qdrant-api-key"

    def _qdrant_key(self) -> dict[str, str]:
        """The setting of the server's API key, where it wants one."""
        if self.qdrant.key is None:
            return {}
        self.qdrant_key_file.touch(mode=0o600)
        self.qdrant_key_file.write_text(self.qdrant.key)
        return {"VIDIMUS__QDRANT__API_KEY_FILE": str(self.qdrant_key_file)}
