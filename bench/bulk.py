"""The bulk lane over the encoder's own throughput, in one run: `bulk.py --programs FOLDER --models FOLDER --photo PORTRAIT`.

The encoder alone, with as many threads as the service has, is measured before and after the job, on the same photos: what else the
machine does weighs on both. A job's rate is taken from the command's start to its end, with everything that a job does.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from bench import Service, ran, say


def admin(programs: Path, data: Path, *words: object) -> dict[str, object]:
    """Runs `vidimus admin …`."""
    return ran([programs / "vidimus", "admin", *words, "--json", "--data", data])


def photos_folder(folder: Path, portrait: Path, count: int, side_px: int | None) -> Path:
    """So many portraits, all of other bytes, so that no two are one photo."""
    photo = portrait.read_bytes()
    if side_px:
        import cv2

        image = cv2.imread(str(portrait))
        scale = side_px / max(image.shape[:2])
        shrunk = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        photo = cv2.imencode(".jpg", shrunk, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
    made = folder / "photos"
    made.mkdir()
    for number in range(count):
        # What follows the end of a JPEG is no part of the picture.
        (made / f"{number:05}.jpg").write_bytes(photo + number.to_bytes(4, "big"))
    return made


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, object]:
    """One run."""
    photos = photos_folder(folder, arguments.photo, arguments.count, arguments.side)
    data = folder / "data"
    data.mkdir()
    os.environ["VIDIMUS_MODELS"] = str(arguments.models)
    encoder = [arguments.programs / "examples/encoder_throughput", photos, 1]
    say("the encoder alone")
    before = ran(encoder)
    service = Service(arguments.programs, data, arguments.models)
    try:
        admin(arguments.programs, data, "tenant", "create", "first")
        make_collection(service, admin(arguments.programs, data, "key", "create", "first"))
        say(f"a job of {arguments.count} photos")
        cpu, began = service.cpu_seconds(), time.monotonic()
        words = ["bulk-index", photos, "--tenant", "first", "--collection", "bench"]
        job = admin(arguments.programs, data, *words)
        seconds = time.monotonic() - began
        cpu = service.cpu_seconds() - cpu
    finally:
        service.stop()
    if job["enrolled"] != arguments.count:
        sys.exit(f"error: {job}")
    say("the encoder alone, again")
    after = ran(encoder)
    alone = 2 / (1 / before["photos_per_second"] + 1 / after["photos_per_second"])
    rate = arguments.count / seconds
    return {
        "photos": arguments.count,
        "threads": before["threads"],
        "encoder_photos_per_second": [before["photos_per_second"], after["photos_per_second"]],
        "bulk_photos_per_second": rate,
        "service_cpu_seconds": cpu,
        "ratio": rate / alone,
    }


def make_collection(service: Service, key: dict[str, str]) -> None:
    """Makes the collection as a tenant does."""
    import boto3

    client = boto3.client(
        "rekognition",
        endpoint_url=f"http://{service.address}",
        region_name="eu-central-1",
        aws_access_key_id=key["access_key_id"],
        aws_secret_access_key=key["secret_access_key"],
    )
    client.create_collection(CollectionId="bench")


def main() -> None:
    """Runs it and prints JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--programs", type=Path, required=True, help="folder of the built programs")
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--photo", type=Path, required=True, help="a portrait")
    parser.add_argument("--count", type=int, default=1000, help="photos of the job")
    parser.add_argument("--side", type=int, help="shrink the portrait to this many pixels")
    parser.add_argument("--folder", type=Path, help="where to work; a temporary folder by default")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="bulk-") as folder:
        print(json.dumps(measure(arguments, Path(folder)), indent=2))


if __name__ == "__main__":
    main()
