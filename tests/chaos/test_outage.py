"""Broker, S3 server and index are away for a while, one after the other, while clients go on; then the log is lost for good."""

import os
import time

import pytest
from auditor import FinalAudit, listed, matched
from cluster import SERVERS
from history import Slot
from run import TENANTS, Run

OUTAGE_SECONDS = float(os.environ.get("VIDIMUS_OUTAGE_SECONDS", "15"))
# `gateway.call_timeout` as these tests set it, and what a busy machine takes besides.
ANSWER_SECONDS_MAX = 15 + 5
# From the server's return until every client has had a call acknowledged.
RECOVERY_SECONDS_MAX = 45
# What a process may grow by while it cannot get rid of anything.
GROWTH_MIB_MAX = 200
LEFT = 5


@pytest.fixture(scope="module")
def run(tmp_path_factory, photos):
    """A run that nothing is killed in but what a test kills."""
    made = Run(tmp_path_factory.mktemp("outage"), photos, seed=1)
    try:
        made.start()
        made.killer.wait(3)
        yield made
    finally:
        print(made.report() if made.watch else "it did not start", flush=True)
        made.close()


@pytest.mark.parametrize("server", SERVERS)
def test_an_outage_is_refused_clearly_and_recovered_from(run: Run, server: str) -> None:
    processes = [member.name for member in run.cluster.processes.members]
    before = {name: run.cluster.rss_mib(name) for name in processes}
    acknowledged = run.history.acknowledged()
    run.history.longest.clear()

    run.cluster.kill(server)
    run.killer.wait(OUTAGE_SECONDS)
    during = {name: run.cluster.rss_mib(name) for name in processes}
    run.cluster.restart(server)
    seconds = run.killer.await_progress(f"{server} was away", RECOVERY_SECONDS_MAX)

    longest = max(run.history.longest.items(), key=lambda pair: pair[1])
    grown = {name: during[name] - before[name] for name in processes}
    print(f"{server} away for {OUTAGE_SECONDS:.0f} s: recovered after {seconds:.1f} s, longest call {longest}, grown {grown}")
    assert run.history.acknowledged() > acknowledged
    assert longest[1] <= ANSWER_SECONDS_MAX, longest
    assert max(grown.values()) <= GROWTH_MIB_MAX, grown
    assert not run.cluster.ended_by_themselves()


def test_a_lost_log_loses_no_face(run: Run) -> None:
    run.pause()
    run.settle()
    audit = FinalAudit(run.cluster, run.history)
    audit.run({tenant: run.api(tenant) for tenant in TENANTS}, dict.fromkeys(TENANTS, run.photos))
    run.must_go_on()

    # Acknowledged, and not projected: nothing but the log says that they are new.
    for name in ("indexing-0", "indexing-1"):
        run.cluster.kill(name)
    for tenant in TENANTS:
        for number in range(LEFT):
            name = f"{tenant}-left-{number}"
            answer = run.api(tenant).index_faces(
                CollectionId="staff", Image={"Bytes": run.photos[0]}, ExternalImageId=name
            )
            [face] = [record["Face"]["FaceId"] for record in answer["FaceRecords"]]
            run.history.slots[tenant].append(Slot(name, live=face))

    run.cluster.kill("kafka")
    run.cluster.lose_log()
    run.cluster.restart("kafka")
    for name in ("indexing-0", "indexing-1"):
        run.cluster.restart(name)
    began = time.monotonic()
    while not all(is_complete(run, tenant) for tenant in TENANTS):
        assert time.monotonic() - began < 2 * RECOVERY_SECONDS_MAX, "not every face was found again"
        time.sleep(0.5)
    print(f"everything was found {time.monotonic() - began:.1f} s after the log was lost")
    audit.run({tenant: run.api(tenant) for tenant in TENANTS}, dict.fromkeys(TENANTS, run.photos))
    run.must_go_on()


def is_complete(run: Run, tenant: str) -> bool:
    """Whether a tenant finds and lists everything that it has."""
    wanted = {slot.live for slot in run.history.slots[tenant] if slot.live}
    client = run.cluster.client(run.keys[tenant])
    try:
        return wanted <= matched(client, run.photos) and wanted <= set(listed(client))
    except client.exceptions.ThrottlingException:
        return False
