"""docs/metrics.md names only metrics that a service exposes, where it says that they are."""

import base64
import re
import subprocess
from pathlib import Path

import grpc
from asking import enrol, search
from grpc_client import GrpcClient
from service import binary

PAGE = Path(__file__).resolve().parents[2] / "docs/metrics.md"
ROLES = ["gateway", "ingestion", "embedding", "indexing", "query", "ledger"]


def exposed(page: str) -> set[str]:
    """The names that a page of metrics has samples of; of a histogram its own name too."""
    names = {re.split(r"[{ ]", line)[0] for line in page.splitlines() if line and not line.startswith("#")}
    return names | {name.removesuffix("_bucket") for name in names}


def test_every_metric_of_the_page_is_exposed_by_its_role(service, key, client, collection, photos) -> None:
    enrol(client, collection, photos.obama)
    assert len(search(client, collection, photos.obama2)) == 1
    photo = {"name": "a.jpg", "bytes": base64.b64encode(photos.biden).decode()}
    with grpc.insecure_channel(service.address) as channel:
        GrpcClient(channel, key).bulk([{"collection_id": collection, "job_id": "job"}, {"photo": photo}])

    text = PAGE.read_text()
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| (\w+) \|", text, re.MULTILINE)
    assert [int(number) for number, _, _ in rows] == list(range(1, 11))
    pages = {role: exposed(service.page_of(role, "/metrics")[1]) for role in ROLES}
    for _, name, role in rows:
        assert name in pages[role], (name, role)
    everywhere = set().union(*pages.values())
    named = set(re.findall(r"\bvidimus_\w+", text))
    assert len(named) > 10 and named <= everywhere, named - everywhere


def test_every_setting_of_the_page_is_one() -> None:
    command = [str(binary()), "serve", "--data", "/nowhere", "--models", "/nowhere", "--dump-config"]
    dumped = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    settings = set(re.findall(r"`((?:gateway|worker|ingestion)\.\w+)`", PAGE.read_text()))
    assert settings
    for setting in settings:
        section, name = setting.split(".")
        assert re.search(rf"^\[{section}[\].].*?^{name}\b|^\[{section}\.{name}\]", dumped, re.MULTILINE | re.DOTALL), setting
