"""The folders that these tests take from, and what is missing before any of them fails of it."""

import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "e2e"), str(TESTS.parent / "scripts/stack")]

import guard  # noqa: E402
from components import missing  # noqa: E402
from service import cache  # noqa: E402


def pytest_sessionstart() -> None:
    """Says what is missing; what tests start ends with them."""
    lacking = missing()
    if lacking:
        pytest.exit("error: missing: " + "; ".join(lacking), returncode=2)
    guard.begin()


@pytest.fixture(scope="session")
def photos() -> dict[str, bytes]:
    """Portraits, as bytes."""
    folder = cache() / "assets/photos"
    return {path.stem: path.read_bytes() for path in folder.iterdir() if path.suffix in {".jpg", ".png"}}
