"""Broker, S3 server and index are away for a while, one after the other, while clients go on; then the log is lost for good."""

import contextlib
import os
import time
from collections.abc import Callable

import pytest
from auditor import FinalAudit, check_slots, listed, matched
from botocore.exceptions import ClientError
from clients import RETRYABLE, Snooper, Unknown
from cluster import NO_RECONCILING, SERVERS
from components import BUCKET
from flood import Flood
from groups import Bulker
from history import Slot
from run import TENANTS, Run
from stored import Blobs, requests_of_batch

OUTAGE_SECONDS = float(os.environ.get("VIDIMUS_OUTAGE_SECONDS", "15"))
# `gateway.call_timeout` as these tests set it, and what a busy machine takes besides.
ANSWER_SECONDS_MAX = 15 + 5
# From the server's return until every client has had a call acknowledged.
RECOVERY_SECONDS_MAX = 45
# What the gateway may hold of bodies, of one tenant and of all; a bulk job alone takes room for 25 MiB.
BODIES_MIB_MAX = {"VIDIMUS__GATEWAY__TENANT_LIMITS__BYTES_IN_FLIGHT_MAX": 32, "VIDIMUS__GATEWAY__BYTES_IN_FLIGHT_MAX": 128}
# What is enrolled while the index is away is stored: some of a flood must do.
ENROLMENTS_PER_SECOND = {"VIDIMUS__GATEWAY__TENANT_LIMITS__ENROLMENTS_PER_SECOND": "10"}
# What a process may grow by, at its peak, while it cannot get rid of anything: a few times what it may hold of bodies, for each lies in
# it more than once. The flood's callers hold out 128 MiB at a time, and far more in all.
GROWTH_MIB_MAX = 160
FLOOD = "flood"
# A job waits until a server is back.
JOB_SECONDS_MAX = OUTAGE_SECONDS + RECOVERY_SECONDS_MAX
LEFT = 5
INDEXING = ("indexing-0", "indexing-1")


@pytest.fixture(scope="module")
def run(tmp_path_factory, photos):
    """A run that nothing is killed in but what a test kills."""
    made = Run(tmp_path_factory.mktemp("outage"), photos, seed=1)
    made.cluster.environment |= {**NO_RECONCILING, **ENROLMENTS_PER_SECOND}
    made.cluster.environment |= {name: str(mib * 1024 * 1024) for name, mib in BODIES_MIB_MAX.items()}
    try:
        made.start()
        made.keys[FLOOD] = made.cluster.new_tenant(FLOOD)
        made.api(FLOOD).create_collection(CollectionId="staff")
        for client in made.clients:
            if isinstance(client, Bulker):
                client.seconds_max = JOB_SECONDS_MAX
        made.killer.wait(3)
        yield made
    finally:
        print(made.report() if made.watch else "it did not start", flush=True)
        made.close()


@pytest.mark.parametrize("server", SERVERS)
def test_an_outage_is_refused_clearly_and_recovered_from(run: Run, server: str) -> None:
    processes = [member.name for member in run.cluster.processes.members]
    for name in processes:
        run.cluster.forget_peak(name)
    before = {name: run.cluster.rss_mib(name) for name in processes}
    acknowledged = run.history.acknowledged()
    run.history.longest.clear()

    run.cluster.kill(server)
    with flood(run) as callers:
        run.killer.wait(OUTAGE_SECONDS)
        peak = {name: run.cluster.rss_mib(name, "VmHWM") for name in processes}
        callers.stop()
        run.cluster.restart(server)
        seconds = run.killer.await_progress(f"{server} was away", RECOVERY_SECONDS_MAX)
        told = callers.end()
    for _ in range(told.refused["IndexFaces"]):
        run.history.called("IndexFaces", "refused")

    job_seconds = run.history.longest.pop("BulkIndex", 0.0)
    longest = max([*run.history.longest.items(), (FLOOD, told.longest_seconds)], key=lambda pair: pair[1])
    grown = {name: round(peak[name] - before[name], 1) for name in processes}
    print(f"{server} away for {OUTAGE_SECONDS:.0f} s: recovered after {seconds:.1f} s, longest call {longest}, job {job_seconds:.1f} s")
    print(told)
    print(f"grown at most by {grown} MiB", flush=True)
    assert run.history.acknowledged() > acknowledged
    assert longest[1] <= ANSWER_SECONDS_MAX, longest
    assert job_seconds <= JOB_SECONDS_MAX and not run.history.refusals["StatusCode.DEADLINE_EXCEEDED"], run.history.refusals
    assert max(grown.values()) <= GROWTH_MIB_MAX, grown
    assert sum(told.refused.values()) > 0 and not told.unclear, told
    assert not run.cluster.ended_by_themselves()


def flood(run: Run) -> contextlib.closing:
    """Callers who give way to nothing."""
    return contextlib.closing(Flood(run.cluster.address, run.keys[FLOOD], run.photos[0], "staff"))


def test_a_lost_log_loses_no_face(run: Run) -> None:
    run.pause()
    run.settle()
    audit = FinalAudit(run.cluster, run.history)
    # What the flood was refused between its record and its change on the log is reconciling's to say, for nobody asks it again.
    audit.await_projected(ours=lambda record: not record.name.startswith(FLOOD))
    run.must_go_on()
    run.cluster.admin("reconcile", "--full")
    run_audit(run, audit)
    # What is enrolled now is acknowledged and not projected: nothing but the log says that it is new.
    for name in INDEXING:
        run.cluster.kill(name)
    for tenant in TENANTS:
        for number in range(LEFT):
            leave(run, tenant, f"{tenant}-left-{number}")

    run.cluster.kill("kafka")
    run.cluster.lose_log()
    run.cluster.restart("kafka")
    # Nothing of ours is started again until enrolling goes on.
    began = time.monotonic()
    for tenant in TENANTS:
        until_allowed(lambda tenant=tenant: leave(run, tenant, f"{tenant}-left-after"))
    print(f"enrolling went on {time.monotonic() - began:.1f} s after the log was lost")
    for name in INDEXING:
        run.cluster.restart(name)
    until_allowed(lambda: [assert_complete(run, tenant) for tenant in TENANTS])
    print(f"everything was found {time.monotonic() - began:.1f} s after the log was lost")
    snoop(run)
    run_audit(run, audit)


def leave(run: Run, tenant: str, name: str) -> None:
    """Enrols a face that nobody deletes again."""
    image = {"Bytes": run.photos[0]}
    answer = run.api(tenant).index_faces(CollectionId="staff", Image=image, ExternalImageId=name)
    [face] = [record["Face"]["FaceId"] for record in answer["FaceRecords"]]
    run.history.slots[tenant].append(Slot(name, live=face))


def until_allowed(ask: Callable[[], object]) -> None:
    """Asks until it goes well; the only refusal meanwhile is one that says to try again."""
    deadline = time.monotonic() + 2 * RECOVERY_SECONDS_MAX
    while True:
        try:
            ask()
            return
        except ClientError as error:
            assert error.response["Error"]["Code"] == "ThrottlingException", error
            assert time.monotonic() < deadline, error
        except AssertionError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.5)


def assert_complete(run: Run, tenant: str) -> None:
    """A tenant finds and lists everything that it has."""
    wanted = {slot.live for slot in run.history.slots[tenant] if slot.live}
    client = run.api(tenant)
    assert wanted <= matched(client, run.photos) and wanted <= set(listed(client))


def snoop(run: Run) -> None:
    """Searches that are to be audited: the log's offsets begin again, the audit batches do not."""
    for tenant in TENANTS:
        snooper = Snooper(run.history, tenant, run.api(tenant), 1, run.photos)
        for _ in range(20):
            until_answered(snooper.find)


def until_answered(ask: Callable[[], None]) -> None:
    """The first append to a partition that was lost is refused: the producer's numbers are not the broker's any more."""
    deadline = time.monotonic() + RECOVERY_SECONDS_MAX
    while True:
        try:
            return ask()
        except Unknown:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def insist(call: Callable[..., dict], **arguments) -> dict:
    """Asks; a refusal is one that may go well later."""
    try:
        return call(CollectionId="staff", **arguments)
    except ClientError as error:
        assert error.response["Error"]["Code"] in RETRYABLE, error
        raise Unknown from error


def run_audit(run: Run, audit: FinalAudit) -> None:
    """Audits everything, and fails of what it finds."""
    audit.run({tenant: run.api(tenant) for tenant in TENANTS}, dict.fromkeys(TENANTS, run.photos))
    run.must_go_on()


def test_the_auditor_notices_what_is_really_broken(run: Run) -> None:
    tenant = TENANTS[0]
    client, blobs = run.cluster.client(run.keys[tenant], retries=5), FinalAudit(run.cluster, run.history).blobs
    slot = next(slot for slot in run.history.slots[tenant] if slot.live and "left" in slot.name)
    # Behind the history's back: a face goes, another one comes, a batch of audit records goes, a photo comes back.
    until_answered(lambda: insist(client.delete_faces, FaceIds=[slot.live]))
    until_answered(lambda: insist(client.index_faces, Image={"Bytes": run.photos[1]}, ExternalImageId=f"{tenant}-nobodys"))
    batches = [key for key in blobs.keys("audit/") if run.history.answered_searches & requests_in(blobs, key)]
    blobs.client.delete_object(Bucket=BUCKET, Key=blobs.prefix + batches[0])
    erased = next(record for record in blobs.records() if record.photos_to_remove)
    blobs.client.put_object(Bucket=BUCKET, Key=blobs.prefix + erased.photos_to_remove[0], Body=b"photo")
    audit = FinalAudit(run.cluster, run.history)
    audit.look_at_blobs(patience_seconds=0)
    check_slots(run.history, tenant, listed(client), matched(client, run.photos))
    run.watch.ending.set()
    found = {violation.id for violation in run.history.violations}
    assert found == {"I2", "I4", "I8", "I9"}, run.history.violations


def requests_in(blobs: Blobs, key: str) -> set[str]:
    """The requests of one audit batch."""
    return set(requests_of_batch(blobs.read(key)))
