"""Photos that are none, or no good: the documented error, and nothing stored."""

import io
import struct
import zlib

import pytest
from asking import enrol, face_count, refusal
from PIL import Image

MIB = 1024 * 1024


def encoded(image: Image.Image, kind: str) -> bytes:
    """The picture as a file's bytes."""
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def png_of(width: int, height: int) -> bytes:
    """A PNG whose header promises a size and whose data does not keep it."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(64))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def portrait(photos, size: tuple[int, int], kind: str = "JPEG", mode: str = "RGB") -> bytes:
    """A real face at a size of one's own."""
    return encoded(Image.open(io.BytesIO(photos.obama)).convert(mode).resize(size), kind)


BAD = {
    "truncated JPEG": (lambda photos: photos.obama[: len(photos.obama) // 2], "InvalidImageFormatException"),
    "JPEG header only": (lambda photos: photos.obama[:200], "InvalidImageFormatException"),
    "6 MB of bytes": (lambda photos: bytes(6 * MIB), "ImageTooLargeException"),
    "5 MB and one byte": (lambda photos: photos.obama.ljust(5 * MIB + 1, b"\0"), "ImageTooLargeException"),
    "zero bytes": (lambda photos: b"", "InvalidParameterException"),
    "not an image": (lambda photos: b"This is a letter, not a photo. " * 64, "InvalidImageFormatException"),
    "GIF": (lambda photos: encoded(Image.new("RGB", (200, 200)), "GIF"), "InvalidImageFormatException"),
    "PNG that promises 900 megapixels": (lambda photos: png_of(30_000, 30_000), "ImageTooLargeException"),
    "PNG without its rows": (lambda photos: png_of(400, 400), "InvalidImageFormatException"),
    "79 pixels wide": (lambda photos: portrait(photos, (79, 200)), "InvalidParameterException"),
    "79 pixels high": (lambda photos: portrait(photos, (200, 79), "PNG"), "InvalidParameterException"),
}


@pytest.fixture(scope="module")
def unchecked(service, key):
    """A client that sends what boto3 itself would refuse."""
    return service.client(key, validate=False)


@pytest.mark.parametrize("name", BAD)
def test_a_bad_photo_is_refused_and_nothing_is_stored(service, unchecked, collection, photos, name):
    make, expected = BAD[name]
    photo, before = make(photos), service.stored()
    image = {"Bytes": photo}
    assert refusal(unchecked.index_faces, CollectionId=collection, Image=image) == expected
    assert refusal(unchecked.search_faces_by_image, CollectionId=collection, Image=image) == expected
    assert service.stored() == before
    assert face_count(unchecked, collection) == 0


def test_a_photo_without_a_face_stores_nothing(service, client, collection):
    before = service.stored()
    empty = encoded(Image.linear_gradient("L").resize((400, 300)), "JPEG")
    answer = client.index_faces(CollectionId=collection, Image={"Bytes": empty})
    assert answer["FaceRecords"] == [] and answer["UnindexedFaces"] == []
    assert service.stored() == before
    assert face_count(client, collection) == 0
    code = refusal(client.search_faces_by_image, CollectionId=collection, Image={"Bytes": empty})
    assert code == "InvalidParameterException"


def test_a_missing_image_is_refused(unchecked, collection):
    for image in [{}, {"Bytes": b"x", "S3Object": {"Bucket": "photos", "Name": "a.jpg"}}]:
        code = refusal(unchecked.index_faces, CollectionId=collection, Image=image)
        assert code == "InvalidParameterException"


def test_the_format_is_known_by_content(client, collection, photos):
    [colour] = enrol(client, collection, portrait(photos, (400, 500)))
    for other in [portrait(photos, (400, 500), mode="L"), portrait(photos, (400, 500), "PNG")]:
        answer = client.search_faces_by_image(CollectionId=collection, Image={"Bytes": other})
        [match] = answer["FaceMatches"]
        assert match["Face"]["FaceId"] == colour
        assert match["Similarity"] > 95


def test_a_photo_is_turned_as_its_exif_says(client, collection, photos):
    [upright] = enrol(client, collection, photos.obama)
    picture = Image.open(io.BytesIO(photos.obama))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise for display
    buffer = io.BytesIO()
    picture.transpose(Image.Transpose.ROTATE_90).save(buffer, "JPEG", exif=exif, quality=95)
    answer = client.search_faces_by_image(CollectionId=collection, Image={"Bytes": buffer.getvalue()})
    [match] = answer["FaceMatches"]
    assert match["Face"]["FaceId"] == upright
    assert match["Similarity"] > 99


def test_the_service_goes_on_after_all_that(service, client, collection, photos):
    before = service.stored()
    assert len(enrol(client, collection, photos.biden)) == 1
    new = service.stored() - before
    assert len(new) == 2, f"a record and a photo, not {new}"
