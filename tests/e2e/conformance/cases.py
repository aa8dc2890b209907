"""Every way to break a constraint of the service model, one at a time, and what is to be answered."""

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from botocore.model import Shape

from conformance.model import Place, inputs, places
from conformance.right_requests import base, value, with_value, without


class Expected(Enum):
    """What is to be answered."""

    #: `InvalidParameterException`, and the message names place and constraint.
    BROKEN = "broken"
    #: `SerializationException`.
    WRONG_TYPE = "wrong type"
    #: `ImageTooLargeException`: the one constraint that the service documents otherwise.
    TOO_LARGE = "too large"
    #: What the right request is answered with.
    AS_BEFORE = "as before"
    #: Anything but a broken constraint.
    ACCEPTED = "accepted"


@dataclass(frozen=True)
class Case:
    """One request."""

    operation: str
    what: str
    body: dict[str, object] | bytes = field(repr=False)
    expected: Expected
    path: str = ""
    constraint: str = ""

    def __str__(self) -> str:
        return f"{self.operation}-{self.what}"


#: Of these, every one that breaks a pattern is tried. What patterns allow and forbid differs in them.
BREAKERS = ["a b", "a!", "ä", "a/b", "aws:x", "a\n", "0123ABCD-0123-4123-8123-0123456789AB", "../a", "<b>"]

#: Values of every JSON type but the right ones.
WRONG = {
    "string": [5, True, [], {}],
    "integer": ["5", 1.5, True, [], {}, 2**31, -(2**40)],
    "float": ["80", True, [], {}],
    "blob": [5, True, [], {}, "no base64!", "AAA"],
    "list": ["a", 5, {}],
    "map": ["a", 5, []],
    "structure": ["a", 5, []],
}


def cases(operation: str) -> Iterator[Case]:
    """All of an operation."""
    request = base(operation)
    for place in places(inputs(operation)):
        yield from _presence(operation, request, place)
        yield from _types(operation, request, place)
        yield from _constraints(operation, request, place)
    yield from _strangers(operation, request)
    for body in [b"[]", b'"text"', b"5", b"{", b"{}}", b"\xff", b'{"CollectionId": "\xff"}']:
        yield Case(operation, f"body {body!r}", body, Expected.WRONG_TYPE)


def _presence(operation: str, request: dict[str, object], place: Place) -> Iterator[Case]:
    if not isinstance(place.way[-1], str):
        return
    null = with_value(request, place.way, None)
    if place.required:
        missing = ("Value null", "Member must not be null")
        for what, body in [("missing", without(request, place.way)), ("null", null)]:
            yield Case(operation, f"{place.name} {what}", body, Expected.BROKEN, place.path, missing[1])
    elif _is_given(request, place):
        absent = without(request, place.way)
        yield Case(operation, f"{place.name} null", null, Expected.ACCEPTED)
        yield Case(operation, f"{place.name} absent", absent, Expected.ACCEPTED)


def _is_given(request: dict[str, object], place: Place) -> bool:
    inside = request
    for part in place.way:
        if not isinstance(inside, dict) or part not in inside:
            return False
        inside = inside[part]
    return True


def _types(operation: str, request: dict[str, object], place: Place) -> Iterator[Case]:
    for wrong in WRONG[place.shape.type_name]:
        body = with_value(request, place.way, wrong)
        yield Case(operation, f"{place.name} = {json.dumps(wrong)}", body, Expected.WRONG_TYPE)
    if place.shape.type_name == "map":
        for wrong in [5, [], {}]:
            body = with_value(request, place.way, {"key": wrong})
            yield Case(operation, f"{place.name}.key = {json.dumps(wrong)}", body, Expected.WRONG_TYPE)


def _constraints(operation: str, request: dict[str, object], place: Place) -> Iterator[Case]:
    shape = place.shape
    if shape.type_name == "map":
        yield from _map_entries(operation, request, place)
    for what, wrong, constraint in broken(shape):
        expected = Expected.TOO_LARGE if _is_large_photo(shape, wrong) else Expected.BROKEN
        body = with_value(request, place.way, wrong)
        yield Case(operation, f"{place.name} {what}", body, expected, place.path, constraint)
    if (operation, place.name) == ("CreateCollection", "CollectionId"):
        return  # It would be made.
    for what, right in edges(shape):
        yield Case(operation, f"{place.name} {what}", with_value(request, place.way, right), Expected.ACCEPTED)


def _is_large_photo(shape: Shape, wrong: object) -> bool:
    return shape.type_name == "blob" and wrong != ""


def _map_entries(operation: str, request: dict[str, object], place: Place) -> Iterator[Case]:
    for what, wrong, constraint in broken(place.shape.key):
        body = with_value(request, place.way, {wrong: "value"})
        yield Case(operation, f"{place.name} key {what}", body, Expected.BROKEN, place.path, constraint)
    for what, wrong, constraint in broken(place.shape.value):
        body = with_value(request, place.way, {"key": wrong})
        yield Case(operation, f"{place.name} value {what}", body, Expected.BROKEN, place.path, constraint)


def _strangers(operation: str, request: dict[str, object]) -> Iterator[Case]:
    """Members that nobody knows, of every JSON type."""
    for stranger in ["text", 5, None, [1], {"CollectionId": 5}]:
        body = {**request, "Stranger": stranger}
        yield Case(operation, f"stranger {json.dumps(stranger)}", body, Expected.AS_BEFORE)
    for place in places(inputs(operation)):
        if place.shape.type_name == "structure" and _is_given(request, place):
            body = with_value(request, (*place.way, "Stranger"), [{}])
            yield Case(operation, f"{place.name}.stranger", body, Expected.AS_BEFORE)
    lower = {name[0].lower() + name[1:]: 5 for name in request}
    yield Case(operation, "names in lower case", {**request, **lower}, Expected.AS_BEFORE)


def broken(shape: Shape) -> Iterator[tuple[str, object, str]]:
    """What breaks a shape's own constraints by one: what it is, the value, and what the message must say."""
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    is_number = shape.type_name in {"integer", "float"}
    kind = "value" if is_number else "length"
    if low is not None and (low > 0 or is_number):
        yield f"below {low}", of_size(shape, low - 1), f"Member must have {kind} greater than or equal to {low}"
    if high is not None:
        yield f"above {high}", of_size(shape, high + 1), f"Member must have {kind} less than or equal to {high}"
    if shape.type_name == "float":
        yield f"little below {low}", low - 0.001, f"greater than or equal to {low}"
        yield f"little above {high}", high + 0.001, f"less than or equal to {high}"
    if "enum" in shape.metadata:
        for wrong in ["", "UNKNOWN", shape.enum[0].swapcase()]:
            yield f"enum {wrong!r}", wrong, f"Member must satisfy enum value set: [{', '.join(shape.enum)}]"
    if "pattern" in shape.metadata:
        for wrong in breakers(shape):
            pattern = shape.metadata["pattern"]
            yield f"pattern {wrong!r}", wrong, f"Member must satisfy regular expression pattern: {pattern}"


def edges(shape: Shape) -> Iterator[tuple[str, object]]:
    """The least and the largest right values."""
    if shape.type_name == "blob":
        return
    for name in ["min", "max"]:
        if name in shape.metadata:
            yield f"at {name} {shape.metadata[name]}", of_size(shape, shape.metadata[name])
    for right in shape.metadata.get("enum", []):
        yield f"enum {right}", right


def of_size(shape: Shape, size: int) -> object:
    """A value of such a length, or that number, right in all else."""
    match shape.type_name:
        case "string":
            return "a" * size
        case "blob":
            return base64.b64encode(bytes(size)).decode()
        case "list":
            return [value(shape.member)] * size
        case "map":
            return {f"key{number}": value(shape.value) for number in range(size)}
    return size


def breakers(shape: Shape) -> list[str]:
    """Texts of a right length that do not match a shape's pattern."""
    # Python's expressions have no classes of Unicode; of what is tried only these letters are in them.
    pattern = shape.metadata["pattern"]
    for unicode_class, letters in [(r"\p{L}", "a-zA-Zä"), (r"\p{Z}", " "), (r"\p{N}", "0-9")]:
        pattern = pattern.replace(unicode_class, letters)
    found = [text for text in BREAKERS if not re.fullmatch(pattern, text)]
    assert found, f"nothing breaks {pattern}"
    return [text for text in found if len(text) >= shape.metadata.get("min", 0)]
