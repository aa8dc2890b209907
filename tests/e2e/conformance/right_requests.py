"""Right requests of every operation, which find nothing, and how one value in them is changed."""

import base64
import copy

from botocore.model import Shape, StructureShape

from conformance.model import inputs

#: There before the tests begin, so that making it again makes nothing.
EXISTING_COLLECTION = "conformance"
MISSING_COLLECTION = "missing"
MISSING_FACE = "00000000-0000-4000-8000-000000000001"

#: A right value of each shape that cannot be made from its constraints alone.
VALUES = {
    "CollectionId": MISSING_COLLECTION,
    "FaceId": MISSING_FACE,
    "ResourceArn": f"arn:aws:rekognition:eu-central-1:000000000000:collection/{MISSING_COLLECTION}",
    "PaginationToken": None,
    "ImageBlob": base64.b64encode(b"no photo").decode(),
    "S3Object": None,
}


def value(shape: Shape) -> object:
    """A right value of a shape; none where a right request has none."""
    if shape.name in VALUES:
        return VALUES[shape.name]
    if "enum" in shape.metadata:
        return shape.enum[0]
    match shape.type_name:
        case "string":
            return "a" * max(shape.metadata.get("min", 1), 1)
        case "integer" | "float":
            return max(shape.metadata.get("min", 1), 1)
        case "list":
            return [value(shape.member)]
        case "map":
            return {value(shape.key): value(shape.value)}
        case "structure":
            return structure(shape)
    raise NotImplementedError(shape.type_name)


def structure(shape: StructureShape) -> dict[str, object]:
    """A right value of a structure, with every member that may be there together with the others."""
    values = {name: value(member) for name, member in shape.members.items()}
    return {name: given for name, given in values.items() if given is not None}


def base(operation: str) -> dict[str, object]:
    """A right request that changes nothing."""
    request = structure(inputs(operation))
    if operation == "CreateCollection":
        request["CollectionId"] = EXISTING_COLLECTION
    if operation == "SearchUsers":
        del request["FaceId"]
    return request


def with_value(request: dict[str, object], way: tuple[str | int, ...], new: object) -> dict[str, object]:
    """A copy of a request with another value at a place."""
    changed = copy.deepcopy(request)
    inside = changed
    for part, below in zip(way, way[1:], strict=False):
        if below == "S3Object":
            inside[part].pop("Bytes", None)
        if isinstance(inside, dict):
            inside = inside.setdefault(part, {})
        else:
            inside = inside[part]
    if way[-1] == "S3Object" and isinstance(inside, dict):
        inside.pop("Bytes", None)
    inside[way[-1]] = new
    return changed


def without(request: dict[str, object], way: tuple[str | int, ...]) -> dict[str, object]:
    """A copy of a request without what is at a place."""
    changed = copy.deepcopy(request)
    inside = changed
    for part in way[:-1]:
        inside = inside[part]
    del inside[way[-1]]
    return changed
