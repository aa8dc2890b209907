"""botocore's own service model of Rekognition, as far as it is about faces."""

from collections.abc import Iterator
from dataclasses import dataclass

import botocore.session
from botocore.model import Shape, StructureShape

FACE_OPERATIONS = [
    "CreateCollection",
    "DescribeCollection",
    "ListCollections",
    "DeleteCollection",
    "IndexFaces",
    "ListFaces",
    "SearchFaces",
    "SearchFacesByImage",
    "DeleteFaces",
    "DetectFaces",
    "CompareFaces",
    "CreateUser",
    "DeleteUser",
    "ListUsers",
    "AssociateFaces",
    "DisassociateFaces",
    "SearchUsers",
    "SearchUsersByImage",
    "TagResource",
    "UntagResource",
    "ListTagsForResource",
]

_MODEL = botocore.session.Session().get_service_model("rekognition")


def inputs(operation: str) -> StructureShape:
    """The shape of an operation's request."""
    return _MODEL.operation_model(operation).input_shape


@dataclass(frozen=True)
class Place:
    """A value's place in a request: the way to it from the top, and what it may be."""

    way: tuple[str | int, ...]
    shape: Shape
    required: bool = False

    @property
    def path(self) -> str:
        """As messages name it: what is in a list or map goes by the name of that."""
        names = [part for part in self.way if isinstance(part, str) and not part.startswith("=")]
        return ".".join(name[0].lower() + name[1:] for name in names)

    @property
    def name(self) -> str:
        """As tests are named by it."""
        return ".".join(str(part).removeprefix("=") for part in self.way)


def places(shape: StructureShape, above: tuple[str | int, ...] = ()) -> Iterator[Place]:
    """Every member of a structure and of those in it, and what lists hold. Entries of maps are not places."""
    for name, member in shape.members.items():
        place = Place((*above, name), member, name in shape.required_members)
        yield place
        if member.type_name == "structure":
            yield from places(member, place.way)
        if member.type_name == "list":
            yield Place((*place.way, 0), member.member)
