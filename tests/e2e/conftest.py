"""A service for each module of tests, a tenant for all its tests, a collection for each test."""

import itertools
from pathlib import Path
from types import SimpleNamespace

import guard
import pytest
from service import Key, Service, binary, cache, is_distributed, models

_numbers = itertools.count(1)


def pytest_sessionstart() -> None:
    """Says what is missing before any test fails of it."""
    for path, command in [
        (binary(), "build"),
        (models(), "models"),
        (cache() / "assets/photos", "assets"),
        (cache() / "javascript/.stamp", "javascript"),
        (cache() / "stack/rotel/.stamp", "rotel"),
    ]:
        if not path.exists():
            pytest.exit(f"{path} is missing: run `make {command}`", returncode=2)
    guard.begin()
    if is_distributed():
        import distributed

        try:
            distributed.start_backing()
        except distributed.CannotStart as error:
            pytest.exit(f"error: {error}", returncode=2)


def pytest_sessionfinish() -> None:
    """Ends the servers of the distributed mode."""
    if is_distributed():
        import distributed

        distributed.stop_backing()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the data directory itself have no meaning where there is none, nor those of processes where there is one."""
    name, reason = ("embedded", "the data directory") if is_distributed() else ("distributed", "separate processes")
    for item in items:
        if item.get_closest_marker(name):
            item.add_marker(pytest.mark.skip(reason=f"it is about {reason}"))


@pytest.fixture(scope="session")
def photos() -> SimpleNamespace:
    """Portraits and one stranger, as bytes."""
    folder = cache() / "assets/photos"
    found = {path.stem: path.read_bytes() for path in folder.iterdir() if path.suffix in {".jpg", ".png"}}
    return SimpleNamespace(**found)


@pytest.fixture(scope="session")
def shared_service(tmp_path_factory: pytest.TempPathFactory):
    """A service on an empty directory, for every module that only calls it."""
    started = Service(tmp_path_factory.mktemp("shared"))
    started.start()
    yield started
    started.close()


@pytest.fixture(scope="module")
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """A service on an empty directory, of the module's own unless it is marked as one that shares."""
    if request.node.get_closest_marker("shared"):
        yield request.getfixturevalue("shared_service")
        return
    started = Service(tmp_path_factory.mktemp("service"))
    started.start()
    yield started
    started.close()


@pytest.fixture(scope="module")
def tenant(request: pytest.FixtureRequest) -> str:
    """The name of the module's tenant."""
    shares = request.node.get_closest_marker("shared")
    return request.module.__name__.rpartition(".")[2].replace("_", "-") if shares else "first"


@pytest.fixture(scope="module")
def key(service: Service, tenant: str) -> Key:
    """The key of the module's tenant."""
    return service.new_tenant(tenant)


@pytest.fixture(scope="module")
def client(service: Service, key: Key):
    """A client that tries once."""
    return service.client(key)


@pytest.fixture
def collection(client) -> str:
    """An empty collection of the module's tenant."""
    name = f"collection-{next(_numbers)}"
    client.create_collection(CollectionId=name)
    return name


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of the test's own."""
    return tmp_path
