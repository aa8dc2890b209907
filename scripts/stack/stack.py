"""The distributed service on this machine: Kafka, SeaweedFS, qdrant-dev or the Qdrant that QDRANT_URL names, and Vidimus as a process
for each role.

Usage: stack.py up [--brokers 1|3] | down | status | admin WORDS…
"""

import argparse
import json
import os
import secrets
import shutil
import sys
import time
from pathlib import Path

from components import CACHE, Backing, CannotStart, end, is_alive, is_of, missing, named_qdrant, program, remove_unheld_locks
from processes import Processes
from qdrant import QdrantServer

RUN = CACHE / "stack-run"
STATE = RUN / "stack.json"
# What the stack has at a Qdrant that is not its own.
ELSEWHERE = RUN / "elsewhere.json"
# Of files that are left so many are named.
LEFT_SHOWN = 3
# Two of each role whose processes share work.
COUNTS = {"embedding": 2, "indexing": 2, "query": 2}


def up(brokers: int) -> None:
    """Starts everything, waits until it is ready, says where it is."""
    if STATE.exists():
        raise CannotStart("a stack is there already: make stack-down")
    lacking = missing()
    if lacking:
        raise CannotStart("missing: " + "; ".join(lacking))
    models = Path(os.environ.get("VIDIMUS_MODELS", CACHE / "models"))
    if not models.exists():
        raise CannotStart(f"{models} is missing: run `make models`")
    # What a start left that was broken off.
    clear()
    began = time.monotonic()
    # A server that is named may hold other stacks' collections too.
    name = f"stack-{secrets.token_hex(4)}"
    backing = Backing(RUN / "backing", brokers, named_qdrant())
    processes = Processes(RUN / "vidimus", COUNTS)
    backing.start()
    try:
        settings = backing.settings(name)
        if backing.named_qdrant is not None:
            ELSEWHERE.write_text(json.dumps({"url": backing.qdrant.url, "prefix": f"{name}-"}))
        processes.start(settings, models)
        STATE.write_text(json.dumps(state(processes, settings)))
    except BaseException:
        processes.stop()
        backing.stop()
        raise
    tell(backing, processes, time.monotonic() - began)


def state(processes: Processes, settings: dict[str, str]) -> dict:
    """What `down` and whoever uses the stack must know."""
    return {
        "pids": {member.name: member.pid for member in processes.members},
        "settings": {**settings, **processes.admin_settings(), **processes.peers()},
        "tenants": processes.of("gateway")[0].said["tenants"],
    }


def tell(backing: Backing, processes: Processes, seconds: float) -> None:
    """Where everything is."""
    print(f"ready after {seconds:.0f} s")
    print(f"  tenants    http://{processes.of('gateway')[0].said['tenants']}")
    for member in processes.members:
        print(f"  {member.name:<12} operators http://{member.said['operators']}  process {member.pid}")
    ports = ",".join(str(port) for port in backing.said["kafka_ports"])
    print(f"  Kafka        127.0.0.1:{ports}")
    print(f"  S3           {backing.s3_endpoint}")
    print(f"  Qdrant       {backing.qdrant.address}{'' if backing.named_qdrant else ' (qdrant-dev)'}")
    print(f"  logs         {RUN}")
    print("administration: scripts/stack/stack.py admin tenant create NAME")


def down() -> None:
    """Ends everything and leaves nothing behind."""
    clear()
    remove_unheld_locks()
    print("the stack is down; nothing of it is left")


def clear() -> None:
    """Ends what runs in the stack's folder, callers first, and removes the folder. Fails of what is left."""
    started = sorted(RUN.glob("vidimus/*.pid"), key=lambda file: file.stat().st_mtime_ns, reverse=True)
    backing = Backing(RUN / "backing")
    pids = [int(file.read_text()) for file in started]
    servers = backing.all_pids()
    for pid in pids:
        if is_of(pid, RUN):
            end(pid)
    backing.stop()
    if ELSEWHERE.exists():
        drop_elsewhere(**json.loads(ELSEWHERE.read_text()))
    left = [f"process {pid}" for pid in [*pids, *servers] if is_of(pid, RUN)]
    if not left:
        # While a process runs, its id must be known.
        shutil.rmtree(RUN, ignore_errors=True)
        left += [str(path) for path in sorted(RUN.rglob("*")) if not path.is_dir()][:LEFT_SHOWN] or [str(RUN)] * RUN.exists()
    if left:
        raise CannotStart("of the stack this is left: " + ", ".join(left))


def drop_elsewhere(url: str, prefix: str) -> None:
    """Drops the stack's collections at a Qdrant that is not its own. Where that fails they stay known: the next `down` drops them."""
    key_file = Backing(RUN / "backing").qdrant_key_file
    try:
        QdrantServer.at(url, key_file.read_text() if key_file.exists() else None).drop(prefix)
    except Exception as error:
        raise CannotStart(f"the collections {prefix}* are left at {url}: {error}") from None


def admin(words: list[str]) -> None:
    """Runs `vidimus admin …` for the stack."""
    settings = json.loads(STATE.read_text())["settings"]
    binary = str(program("vidimus"))
    os.execve(binary, [binary, "admin", *words], {**os.environ, **settings})


def status() -> int:
    """Says what runs."""
    if not STATE.exists():
        print("no stack is up")
        return 1
    alive = {name: is_alive(pid) for name, pid in json.loads(STATE.read_text())["pids"].items()}
    for name, lives in alive.items():
        print(f"{name:<12} {'runs' if lives else 'has ended'}")
    return 0 if all(alive.values()) else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    starting = commands.add_parser("up", help="start everything")
    starting.add_argument("--brokers", type=int, choices=[1, 3], default=1)
    commands.add_parser("down", help="end everything")
    commands.add_parser("status", help="say what runs")
    commands.add_parser("admin", help="vidimus admin …").add_argument("words", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    try:
        match options.command:
            case "up":
                up(options.brokers)
            case "down":
                down()
            case "admin":
                admin(options.words)
            case "status":
                return status()
    except CannotStart as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
