"""The main way through the AWS command line, as it comes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from service import REGION, cache

pytestmark = pytest.mark.shared


@pytest.fixture
def aws(service, key, folder):
    """Runs `aws rekognition …` and reads what it prints."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "AWS_ACCESS_KEY_ID": key.access_key_id,
        "AWS_SECRET_ACCESS_KEY": key.secret_access_key,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL_REKOGNITION": f"http://{service.address}",
        "AWS_MAX_ATTEMPTS": "1",
    }
    program = [sys.executable, str(Path(sys.executable).with_name("aws")), "rekognition"]

    def run(*words: str, fails: bool = False):
        command = [*program, *words, "--output", "json"]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert (ran.returncode != 0) == fails, ran.stderr
        return ran.stderr if fails else json.loads(ran.stdout)

    return run


def photo(name: str) -> list[str]:
    """The option that sends a photo."""
    return ["--image-bytes", f"fileb://{cache() / 'assets/photos' / name}"]


def test_the_main_way(aws):
    people = ["--collection-id", "cli-people"]
    assert aws("create-collection", *people)["StatusCode"] == 200
    enrolled = aws("index-faces", *people, *photo("obama.jpg"), "--external-image-id", "obama")
    face = enrolled["FaceRecords"][0]["Face"]["FaceId"]
    found = aws("search-faces-by-image", *people, *photo("obama2.jpg"))
    assert [match["Face"]["FaceId"] for match in found["FaceMatches"]] == [face]
    assert [listed["FaceId"] for listed in aws("list-faces", *people)["Faces"]] == [face]
    assert aws("delete-faces", *people, "--face-ids", face)["DeletedFaces"] == [face]
    assert aws("search-faces-by-image", *people, *photo("obama2.jpg"))["FaceMatches"] == []
    assert aws("delete-collection", *people)["StatusCode"] == 200
    assert "ResourceNotFoundException" in aws("describe-collection", *people, fails=True)
