"""Vidimus as separate processes, one or more for each role, over given servers."""

import json
import os
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from components import CannotStart, end, free_ports, program

# Whoever is called first; a list of how many processes each role has.
ROLES = {"embedding": 1, "indexing": 1, "ingestion": 1, "query": 1, "ledger": 1, "gateway": 1}
CALLED = ["embedding", "indexing", "ingestion", "query"]
READY_SECONDS_MAX = 90


@dataclass
class Process:
    """One process of one role."""

    name: str
    role: str
    ports: dict[str, int]
    popen: subprocess.Popen | None = None
    pid: int | None = None
    said: dict = field(default_factory=dict)


class Processes:
    """The processes of one service, in a folder."""

    def __init__(self, folder: Path, counts: dict[str, int] | None = None) -> None:
        self.folder = folder
        self.token_file = folder / "admin-token"
        self.members: list[Process] = []
        for role, count in {**ROLES, **(counts or {})}.items():
            for number in range(count):
                self.members.append(Process(f"{role}-{number}", role, self._ports(role)))

    @staticmethod
    def _ports(role: str) -> dict[str, int]:
        first = free_ports(3)
        ports = {"operators": first}
        if role in CALLED:
            ports["roles"] = first + 1
        if role == "gateway":
            ports["tenants"] = first + 2
        return ports

    def prepare(self) -> None:
        """Makes the folder, and the token of administration."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.token_file.exists():
            self.token_file.touch(mode=0o600)
            self.token_file.write_text(os.urandom(32).hex() + "\n")

    def peers(self) -> dict[str, str]:
        """Where the roles are that are called, for all processes alike."""
        places = {}
        for role in CALLED:
            members = [member for member in self.members if member.role == role]
            addresses = ",".join(f"127.0.0.1:{member.ports['roles']}" for member in members)
            setting = "VIDIMUS__EMBEDDING" if role == "embedding" else f"VIDIMUS__PEERS__{role.upper()}"
            places[setting] = f"http://{addresses}"
        return places

    def operators_addresses(self) -> list[str]:
        """Where administration is asked: the gateway first, then the ledger, which reconciles."""
        wanted = ["gateway", "ledger"]
        found = sorted((m for m in self.members if m.role in wanted), key=lambda m: wanted.index(m.role))
        return [f"127.0.0.1:{member.ports['operators']}" for member in found]

    def admin_settings(self) -> dict[str, str]:
        """What `vidimus admin` needs to know."""
        return {
            "VIDIMUS__ADMIN__ADDRESSES": json.dumps(self.operators_addresses()),
            "VIDIMUS__ADMIN__TOKEN_FILE": str(self.token_file),
        }

    def start(self, environment: dict[str, str], models: Path, binary: Path | None = None) -> None:
        """Starts all, and waits until each says that it is ready."""
        self.prepare()
        for member in self.members:
            self.start_one(member, self.shared(environment), models, binary)
        deadline = time.monotonic() + READY_SECONDS_MAX
        for member in self.members:
            self.wait_for(member, deadline)

    def shared(self, environment: dict[str, str]) -> dict[str, str]:
        """What every process is told besides its role and its ports."""
        return {**environment, **self.peers(), "VIDIMUS__ADMIN__TOKEN_FILE": str(self.token_file)}

    def start_one(
        self, member: Process, environment: dict[str, str], models: Path, binary: Path | None = None
    ) -> None:
        """Starts one process; it says when it is ready in a file."""
        self.ready_file(member).unlink(missing_ok=True)
        command = [str(binary or program("vidimus")), "serve", "--roles", member.role, "--models", str(models)]
        command += ["--operators", f"127.0.0.1:{member.ports['operators']}"]
        command += ["--ready-file", str(self.ready_file(member))]
        if "roles" in member.ports:
            command += ["--listen-roles", f"127.0.0.1:{member.ports['roles']}"]
        if "tenants" in member.ports:
            command += ["--listen", f"127.0.0.1:{member.ports['tenants']}"]
        with self.log(member).open("ab") as lines:
            member.popen = subprocess.Popen(
                command,
                stdout=lines,
                stderr=lines,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **environment},
                start_new_session=True,
            )
        member.pid = member.popen.pid
        self.pid_file(member).write_text(str(member.pid))

    def wait_for(self, member: Process, deadline: float) -> None:
        """Waits until a process says that it is ready."""
        while not self.ready_file(member).exists():
            if member.popen is not None and member.popen.poll() is not None:
                raise CannotStart(f"{member.name} ended with {member.popen.returncode}:\n{self.log_end(member)}")
            if time.monotonic() > deadline:
                raise CannotStart(f"{member.name} is not ready:\n{self.log_end(member)}")
            time.sleep(0.05)
        member.said = json.loads(self.ready_file(member).read_text())

    def ready_file(self, member: Process) -> Path:
        """Where a process says that it is ready."""
        return self.folder / f"{member.name}.ready.json"

    def pid_file(self, member: Process) -> Path:
        """Where its process id is, for whoever ends it without having started it."""
        return self.folder / f"{member.name}.pid"

    def log(self, member: Process) -> Path:
        """A process's log."""
        return self.folder / f"{member.name}.log"

    def log_end(self, member: Process) -> str:
        """The last lines of a process's log."""
        return "\n".join(self.log(member).read_text(errors="replace").splitlines()[-20:])

    def of(self, role: str) -> list[Process]:
        """The processes of a role."""
        return [member for member in self.members if member.role == role]

    def stop(self) -> None:
        """Ends all, callers first."""
        for member in reversed(self.members):
            if member.pid is not None:
                end(member.pid)
