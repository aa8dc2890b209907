"""Everything is killed and stopped at random while clients of two tenants work; what they were told holds."""

import os
from pathlib import Path

import pytest
from run import Run

KILLS = int(os.environ.get("VIDIMUS_CHAOS_KILLS", "20"))
SEED = int(os.environ.get("VIDIMUS_CHAOS_SEED", "1"))


@pytest.fixture
def run(tmp_path: Path, photos):
    """A run that has begun."""
    made = Run(tmp_path, photos, SEED)
    try:
        made.start()
        yield made
    finally:
        print(made.report() if made.watch else "it did not start", flush=True)
        made.close()


def test_what_clients_were_told_holds_whoever_dies(run: Run) -> None:
    run.strike(KILLS)
    run.end()
    assert run.history.acknowledged() > 5 * KILLS
