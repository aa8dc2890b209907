"""One broker of three is killed, and when it is back another one, while clients go on: what they were told holds."""

import time
from collections import Counter
from pathlib import Path

import pytest
from auditor import FinalAudit
from brokers import Brokers
from cluster import NO_RECONCILING, Cluster
from run import TENANTS, Run

BROKERS = 3
# From the kill until every client has had a call acknowledged: the cluster takes 9 s to believe that a broker is gone.
PROGRESS_SECONDS_MAX = 45
IN_SYNC_SECONDS_MAX = 120
#: What the brokers make for themselves.
INTERNAL = {"__consumer_offsets", "__transaction_state"}
OURS = {"changes", "photos", "dead", "audit", "incarnation"}


@pytest.fixture
def run(tmp_path: Path, photos):
    """A run over three brokers that nothing is killed in but what the test kills."""
    made = Run(tmp_path, photos, seed=1, cluster=Cluster(tmp_path, counts={}, brokers=BROKERS))
    made.cluster.environment |= NO_RECONCILING
    try:
        made.start()
        yield made
    finally:
        print(made.report() if made.watch else "it did not start", flush=True)
        made.close()


def test_the_service_goes_on_whichever_broker_dies(run: Run) -> None:
    brokers = Brokers(run.cluster.backing.said["kafka_ports"])
    brokers.make_transactions_topic()
    assert_replicated(brokers)
    killed: list[str] = []
    for _ in range(2):
        victim = most_leading(brokers, killed)
        acknowledged = run.history.acknowledged()
        run.cluster.kill(victim)
        killed.append(victim)
        seconds = run.killer.await_progress(f"{victim} was killed", PROGRESS_SECONDS_MAX)
        print(f"{victim} killed: every client was acknowledged a call {seconds:.1f} s later", flush=True)
        run.killer.wait(2)
        assert run.history.acknowledged() > acknowledged
        led = {partition.leader for partition in brokers.partitions()}
        assert int(victim[-1]) not in led and -1 not in led, led
        run.cluster.restart(victim)
        await_in_sync(run, brokers)
    run.pause()
    run.settle()
    run.audit = FinalAudit(run.cluster, run.history)
    run.audit.run({tenant: run.api(tenant) for tenant in TENANTS}, dict.fromkeys(TENANTS, run.photos))
    run.must_go_on()


def assert_replicated(brokers: Brokers) -> None:
    """Every partition is on every broker, and an append counts when two have it."""
    partitions = brokers.partitions()
    topics = {partition.topic for partition in partitions}
    assert topics >= INTERNAL and OURS <= {topic.rpartition(".")[2] for topic in topics}, topics
    for partition in partitions:
        assert partition.replicas == set(range(BROKERS)), partition
    in_sync = {topic: brokers.setting(topic, "min.insync.replicas") for topic in topics}
    assert set(in_sync.values()) == {"2"}, in_sync


def most_leading(brokers: Brokers, killed: list[str]) -> str:
    """Who leads the most partitions, of those that were not killed yet."""
    leading = Counter(f"kafka-{partition.leader}" for partition in brokers.partitions())
    [(victim, count)] = Counter({name: leading[name] for name in leading if name not in killed}).most_common(1)
    print(f"{victim} leads {count} of {leading.total()} partitions", flush=True)
    return victim


def await_in_sync(run: Run, brokers: Brokers) -> None:
    """Waits until a broker that is back has what it missed."""
    deadline = time.monotonic() + IN_SYNC_SECONDS_MAX
    while behind := [partition for partition in brokers.partitions() if partition.in_sync != partition.replicas]:
        assert time.monotonic() < deadline, behind
        run.killer.wait(0.5)
