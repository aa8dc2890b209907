"""The operators' port: alive, ready, measured; and what must not be said there or in the log."""

import re
import stat

import pytest
import urllib3
from asking import enrol, search

TENANT = "a-tenant-of-a-very-particular-name"
COLLECTION = "a-collection-of-a-very-particular-name"
PERSON = "a-person-of-a-very-particular-name"


def test_it_is_alive_and_ready(service):
    assert service.operators_page("/livez")[0] == 200
    assert service.operators_page("/readyz")[0] == 200
    assert service.operators_page("/nothing")[0] == 404


def test_metrics_count_and_name_no_tenant(service, photos):
    key = service.new_tenant(TENANT)
    client = service.client(key)
    client.create_collection(CollectionId=COLLECTION)
    [face] = enrol(client, COLLECTION, photos.obama, PERSON)
    assert search(client, COLLECTION, photos.obama) == [face]

    status, page = service.operators_page("/metrics")
    assert status == 200
    samples = [line for line in page.splitlines() if line and not line.startswith("#")]
    names = {re.split(r"[{ ]", line)[0] for line in samples}
    assert len(names) >= 8
    assert all(name.startswith("vidimus_") for name in names), names
    indexed = [line for line in samples if "IndexFaces" in line]
    assert indexed, "no sample names the operation"
    for secret in [TENANT, COLLECTION, PERSON, face, key.access_key_id, key.secret_access_key]:
        assert secret not in page


def test_the_log_holds_no_secret(service):
    made = service.new_key(TENANT)
    client = service.client(made)
    assert client.list_collections()["CollectionIds"] == [COLLECTION]
    log = service.log.read_text(errors="replace")
    assert "ListCollections" in log
    for secret in [PERSON, made.secret_access_key]:
        assert secret not in log


def test_administration_needs_the_token(service):
    for headers in [{}, {"Authorization": "Bearer x"}]:
        body = b'{"command":"list_tenants"}'
        answer = urllib3.request("POST", f"http://{service.operators}/admin/v1", body=body, headers=headers)
        assert answer.status == 401


@pytest.mark.embedded
def test_secrets_lie_where_their_owner_alone_reads_them(service):
    kept = [path for path in (service.data / "keys").iterdir() if path.is_file()]
    assert kept
    for path in kept:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
