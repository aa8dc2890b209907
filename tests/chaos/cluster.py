"""A whole distributed service on this machine, each of whose processes and servers can be killed, stopped and started again."""

import contextlib
import os
import shutil
import signal
import time
from pathlib import Path

import components
import urllib3
from components import SERVERS, Backing, CannotStart
from processes import Processes
from service import EmbeddedService, binary, models

INDEX = "qdrant"
COUNTS = {"indexing": 2, "query": 2}
READY_SECONDS_MAX = 180
# On a busy machine a broker that was killed takes its time to start.
components.START_SECONDS_MAX = 180
STOP_SECONDS_MAX = 60
SETTINGS = {
    # No call outlasts this, whatever is away: whoever waits hears of it.
    "VIDIMUS__GATEWAY__CALL_TIMEOUT": "15s",
    # What a write takes to count as durable; a process of indexing that comes back waits so long for what the others commit.
    "VIDIMUS__QDRANT__DURABLE_AFTER": "10s",
    "VIDIMUS__LEDGER__AUDIT_BATCH_WAIT": "1s",
    "VIDIMUS__LEDGER__RECONCILE_INTERVAL": "30s",
}
# Once a process has started, nothing mends what the log's consumers leave: what they leave is found.
NO_RECONCILING = {"VIDIMUS__LEDGER__RECONCILE_INTERVAL": "1h"}


class Cluster(EmbeddedService):
    """Kafka, SeaweedFS, qdrant-dev, and one or two processes for each role."""

    def __init__(self, folder: Path, counts: dict[str, int] | None = None, brokers: int = 1) -> None:
        super().__init__(folder)
        self.name = "chaos"
        self.backing = Backing(folder / "backing", brokers)
        self.processes = Processes(folder / "processes", COUNTS if counts is None else counts)
        # By process: the program to run, and settings of its own.
        self.programs: dict[str, Path] = {}
        self.own: dict[str, dict[str, str]] = {}
        self.settings: dict[str, str] = {}
        # When it was killed last.
        self.index_killed_at = 0.0

    def start(self) -> None:
        """Starts everything and waits until it is ready."""
        self.folder.mkdir(parents=True, exist_ok=True)
        properties = self.folder / "kafka.properties"
        # So that an auditor can read what lies there.
        properties.write_text("compression.type=uncompressed\n")
        self.backing.environment["KAFKA_PROPERTIES"] = str(properties)
        self.backing.start()
        self.settings = {**SETTINGS, **self.backing.settings(self.name), **self.environment}
        self.processes.prepare()
        for member in self.processes.members:
            self.start_process(member.name, wait=False)
        for member in self.processes.members:
            self.await_ready(member.name)
        [gateway] = self.processes.of("gateway")
        self.address, self.operators = gateway.said["tenants"], gateway.said["operators"]

    def close(self) -> None:
        """Ends everything and removes what it held."""
        for name in self.names():
            # What was never started has no process ids.
            with contextlib.suppress(OSError, KeyError):
                self.signal(name, signal.SIGCONT)
        for member in self.processes.members:
            if member.popen is not None and member.popen.poll() is None:
                member.popen.kill()
                member.popen.wait()
        self.backing.stop()
        if "VIDIMUS_CHAOS_KEEP" not in os.environ:
            shutil.rmtree(self.folder / "backing", ignore_errors=True)

    def names(self) -> list[str]:
        """Everything that can be killed: processes by their names, servers by theirs."""
        return [member.name for member in self.processes.members] + SERVERS

    def is_server(self, name: str) -> bool:
        """Whether a name is a server's, or one broker's."""
        return name in SERVERS or name in self.backing.broker_names()

    def member(self, name: str):
        """One process."""
        [found] = [member for member in self.processes.members if member.name == name]
        return found

    def pids(self, name: str) -> list[int]:
        """The process ids behind a name."""
        if self.is_server(name):
            return self.backing.pids(name)
        popen = self.member(name).popen
        return [popen.pid] if popen is not None else []

    def signal(self, name: str, what: signal.Signals) -> None:
        """Sends a signal to all that is behind a name and lives."""
        if self.is_server(name):
            for pid in self.backing.pids(name):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, what)
        elif (popen := self.member(name).popen) is not None:
            # One that has ended and was waited for is left alone.
            popen.send_signal(what)

    def kill(self, name: str) -> None:
        """Kills it (SIGKILL)."""
        if self.is_server(name):
            self.backing.kill_one(name)
        else:
            member = self.member(name)
            popen, member.popen = member.popen, None
            popen.kill()
            popen.wait()
        if name == INDEX:
            self.index_killed_at = time.monotonic()

    def restart(self, name: str) -> None:
        """Starts again what was killed, on the same ports and data."""
        if self.is_server(name):
            self.backing.start_one(name)
        else:
            self.start_process(name)

    def start_process(self, name: str, wait: bool = True) -> None:
        """Starts one process."""
        environment = {**self.processes.shared(self.settings), **self.own.get(name, {})}
        self.processes.start_one(self.member(name), environment, models(), self.programs.get(name, binary()))
        if wait:
            self.await_ready(name)

    def await_ready(self, name: str) -> None:
        """Waits until a process says that it is ready."""
        self.processes.wait_for(self.member(name), time.monotonic() + READY_SECONDS_MAX)

    def is_ready(self, name: str) -> bool:
        """Whether a process has said that it is ready since it was started."""
        return self.processes.ready_file(self.member(name)).exists()

    def stop_all(self) -> None:
        """Ends every process in order, callers first."""
        for member in reversed(self.processes.members):
            member.popen.send_signal(signal.SIGTERM)
            status = member.popen.wait(STOP_SECONDS_MAX)
            if status != 0:
                raise CannotStart(f"{member.name} ended with {status}:\n{self.processes.log_end(member)}")

    def start_all(self) -> None:
        """Starts every process again."""
        for member in self.processes.members:
            self.start_process(member.name, wait=False)
        for member in self.processes.members:
            self.await_ready(member.name)

    def has_ended(self, name: str) -> bool:
        """Whether a process that nobody killed is gone."""
        # Others kill meanwhile, and take the process from its member before.
        member = self.member(name)
        popen = member.popen
        return popen is not None and popen.poll() is not None and member.popen is popen

    def ended_by_themselves(self, supervised: set[str] = frozenset()) -> list[str]:
        """Processes that nobody killed and that are gone, with the end of their logs; without those that somebody starts again."""
        members = [member for member in self.processes.members if member.name not in supervised]
        gone = [member for member in members if self.has_ended(member.name)]
        return [f"{member.name} ended by itself:\n{self.processes.log_end(member)}" for member in gone]

    def lose_log(self) -> None:
        """Loses everything that Kafka has. It must have been killed."""
        shutil.rmtree(self.folder / "backing/kafka")

    def metrics(self, name: str, timeout: float = 5.0) -> str:
        """A process's metrics."""
        address = self.member(name).said["operators"]
        return urllib3.request("GET", f"http://{address}/metrics", retries=False, timeout=timeout).data.decode()

    def rss_mib(self, name: str, what: str = "VmRSS") -> float:
        """What a process holds in memory; with `VmHWM`, the most that it held since that was forgotten."""
        lines = [line for pid in self.pids(name) for line in Path(f"/proc/{pid}/status").read_text().splitlines()]
        return sum(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{what}:"))

    def forget_peak(self, name: str) -> None:
        """Has a process's peak of memory begin where it is now (proc(5), `clear_refs`)."""
        for pid in self.pids(name):
            Path(f"/proc/{pid}/clear_refs").write_text("5")

    def admin_flags(self) -> list[str]:
        return []

    def admin_environment(self) -> dict[str, str]:
        return {**self.settings, **self.processes.admin_settings()}

