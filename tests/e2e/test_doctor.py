"""`vidimus doctor`, and what `serve` says of the same faults: what is wrong, and the command that mends it."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from service import binary, models

pytestmark = pytest.mark.embedded


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """Runs the program to its end."""
    return subprocess.run([str(binary()), *words], capture_output=True, text=True, timeout=60, check=False)


def doctor(data: Path, models_folder: Path, *words: str) -> dict[str, dict]:
    """The doctor's findings by what they are of; fails where its exit status and its findings differ."""
    ran = run("doctor", "--json", "--data", str(data), "--models", str(models_folder), *words)
    findings = {finding["what"]: finding for finding in json.loads(ran.stdout)}
    assert (ran.returncode == 0) == all(finding["fine"] for finding in findings.values()), ran.stdout
    return findings


def test_all_is_well_with_an_empty_directory(folder: Path) -> None:
    findings = doctor(folder / "data", models())
    assert set(findings) == {"configuration", "model", "blobs", "log", "index"}
    assert all(finding["fine"] for finding in findings.values())


def test_a_missing_model_names_the_command_that_mends_it(folder: Path) -> None:
    assert "vidimus models import" in doctor(folder, folder / "nothing")["model"]["said"]
    served = run("serve", "--data", str(folder), "--models", str(folder / "nothing"))
    assert served.returncode != 0
    assert "vidimus models import" in served.stderr


def test_a_changed_model_file_is_found(folder: Path) -> None:
    copied = folder / "models"
    shutil.copytree(models(), copied)
    file = next(copied.glob("sface-2021dec/*.onnx"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    finding = doctor(folder, copied)["model"]
    assert not finding["fine"]
    assert file.name in finding["said"]
    assert "vidimus models import" in finding["said"]


def test_a_foreign_directory_is_left_alone(folder: Path) -> None:
    blobs = folder / "blobs"
    blobs.mkdir()
    (blobs / "letter.txt").write_text("dear")
    finding = doctor(folder, models())["blobs"]
    assert not finding["fine"]
    assert str(blobs) in finding["said"]
    assert (blobs / "letter.txt").read_text() == "dear"


def test_unknown_settings_are_named(folder: Path) -> None:
    config = folder / "vidimus.toml"
    config.write_text("[listn]\ntenants = '127.0.0.1:1'\n")
    ran = run("doctor", "--config", str(config), "--data", str(folder))
    assert ran.returncode != 0
    assert "listn" in ran.stderr


def test_the_configuration_is_dumped_without_secrets(folder: Path) -> None:
    ran = run("serve", "--data", str(folder), "--listen", "127.0.0.1:7777", "--dump-config")
    assert ran.returncode == 0
    assert 'tenants = "127.0.0.1:7777"' in ran.stdout
    assert "secret" not in ran.stdout.lower() and "token" not in ran.stdout.lower()
