"""Every operation tried with another tenant's names, ids and tokens: the answer is that for what does not exist, and
nothing of the other tenant is in it."""

import base64
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from asking import enrol, face_ids
from conformance.model import FACE_OPERATIONS
from raw import Answer, Raw
from service import REGION

pytestmark = pytest.mark.shared

OWN = "own"


@dataclass(frozen=True)
class Names:
    """What one can be named by: a tenant's own, or such as nobody has."""

    collection: str
    face: str
    second_face: str
    user: str
    arn: str
    collections_token: str
    faces_token: str
    users_token: str

    def hidden_in(self, text: str) -> str:
        """A text with every name replaced by what it is the name of."""
        for name, value in sorted(vars(self).items(), key=lambda pair: -len(pair[1])):
            text = text.replace(value, f"<{name}>")
        return text


def token_like(token: str) -> str:
    """A token of the same length and alphabet that nobody was given."""
    middle = len(token) // 2
    other = "A" if token[middle] != "A" else "B"
    return token[:middle] + other + token[middle + 1 :]


@dataclass(frozen=True)
class World:
    """The owner's things, and the stranger who asks for them."""

    owner: object
    stranger: Raw
    theirs: Names
    nobodys: Names
    own_face: str
    photo: str
    #: What is the owner's and in none of the stranger's questions.
    secrets: list[str]


@pytest.fixture(scope="module")
def world(service, photos) -> World:
    """An owner with something of everything; a stranger with a collection, a face and a user."""
    owner = service.client(service.new_tenant("owner"))
    theirs = owned(owner, photos)
    stranger_key = service.new_tenant("stranger")
    stranger = service.client(stranger_key)
    stranger.create_collection(CollectionId=OWN)
    [own_face] = enrol(stranger, OWN, photos.obama, "mine")
    stranger.create_user(CollectionId=OWN, UserId="my-user")
    # As many as make a second page of everything, so that the stranger's listings have tokens of their own too.
    stranger.create_collection(CollectionId=f"{OWN}-second")
    account = theirs.arn.split(":")[4]
    secrets = [account, "their-secret-name", *face_ids(owner, theirs.collection), "their-second-collection"]
    return World(
        owner=owner,
        stranger=Raw(service, stranger_key),
        theirs=theirs,
        nobodys=nobodys_like(theirs),
        own_face=own_face,
        photo=base64.b64encode(photos.obama2).decode(),
        secrets=secrets,
    )


def owned(owner, photos) -> Names:
    """Makes the owner's things."""
    name = "their-collection"
    made = owner.create_collection(CollectionId=name, Tags={"their-secret-name": "their-secret-name"})
    owner.create_collection(CollectionId="their-second-collection")
    [face] = enrol(owner, name, photos.obama, "their-secret-name")
    [second] = enrol(owner, name, photos.biden, "their-secret-name")
    for user in ["their-user", "their-user-2"]:
        owner.create_user(CollectionId=name, UserId=user)
    owner.associate_faces(CollectionId=name, UserId="their-user", FaceIds=[face])
    return Names(
        collection=name,
        face=face,
        second_face=second,
        user="their-user",
        arn=made["CollectionArn"],
        collections_token=owner.list_collections(MaxResults=1)["NextToken"],
        faces_token=owner.list_faces(CollectionId=name, MaxResults=1)["NextToken"],
        users_token=owner.list_users(CollectionId=name, MaxResults=1)["NextToken"],
    )


def nobodys_like(theirs: Names) -> Names:
    """The same as nobody's."""
    return Names(
        collection="no-collection",
        face=f"{uuid.uuid4()}"[:-4] + "0001",
        second_face=f"{uuid.uuid4()}"[:-4] + "0001",
        user="no-user",
        arn=f"arn:aws:rekognition:{REGION}:000000000000:collection/no-collection",
        collections_token=token_like(theirs.collections_token),
        faces_token=token_like(theirs.faces_token),
        users_token=token_like(theirs.users_token),
    )


Request = Callable[[World, Names], dict[str, object]]


def of_collection(**more: object) -> Request:
    """Of another's collection; what else is asked is the stranger's own."""
    return lambda world, names: {"CollectionId": names.collection, **more}


def of_own(make: Callable[[Names], dict[str, object]]) -> Request:
    """Of the stranger's own collection, with another's ids."""
    return lambda world, names: {"CollectionId": OWN, **make(names)}


def with_photo(collection: Callable[[Names], str]) -> Request:
    return lambda world, names: {"CollectionId": collection(names), "Image": {"Bytes": world.photo}}


def users_request(**more: object) -> Request:
    """Of another's collection, user and faces together."""
    return lambda world, names: {"CollectionId": names.collection, "UserId": names.user, **more}


def with_faces(world: World, names: Names) -> dict[str, object]:
    return {"CollectionId": names.collection, "UserId": names.user, "FaceIds": [names.face, names.second_face]}


#: (operation, what is another's, the request)
TABLE: list[tuple[str, str, Request]] = [
    ("DescribeCollection", "collection", of_collection()),
    ("DeleteCollection", "collection", of_collection()),
    ("ListCollections", "token", lambda world, names: {"NextToken": names.collections_token}),
    ("IndexFaces", "collection", with_photo(lambda names: names.collection)),
    ("ListFaces", "collection", of_collection()),
    ("ListFaces", "collection and token", lambda w, n: {"CollectionId": n.collection, "NextToken": n.faces_token}),
    ("ListFaces", "token", of_own(lambda names: {"NextToken": names.faces_token})),
    ("ListFaces", "token of another listing", of_own(lambda names: {"NextToken": names.users_token})),
    ("ListFaces", "faces", of_own(lambda names: {"FaceIds": [names.face, names.second_face]})),
    ("ListFaces", "user", of_own(lambda names: {"UserId": names.user})),
    ("SearchFaces", "collection", lambda w, n: {"CollectionId": n.collection, "FaceId": w.own_face}),
    ("SearchFaces", "collection and face", lambda w, n: {"CollectionId": n.collection, "FaceId": n.face}),
    ("SearchFaces", "face", of_own(lambda names: {"FaceId": names.face})),
    ("SearchFacesByImage", "collection", with_photo(lambda names: names.collection)),
    ("DeleteFaces", "collection", lambda w, n: {"CollectionId": n.collection, "FaceIds": [w.own_face]}),
    ("DeleteFaces", "collection and faces", lambda w, n: {"CollectionId": n.collection, "FaceIds": [n.face]}),
    ("DeleteFaces", "faces", of_own(lambda names: {"FaceIds": [names.face, names.second_face]})),
    ("CreateUser", "collection", users_request()),
    ("CreateUser", "collection and request token", users_request(ClientRequestToken="token-of-the-stranger")),
    ("DeleteUser", "collection", users_request()),
    ("DeleteUser", "user", of_own(lambda names: {"UserId": names.user})),
    ("ListUsers", "collection", of_collection()),
    ("ListUsers", "token", of_own(lambda names: {"NextToken": names.users_token})),
    ("AssociateFaces", "collection, user and faces", with_faces),
    ("AssociateFaces", "user", lambda w, n: {"CollectionId": OWN, "UserId": n.user, "FaceIds": [w.own_face]}),
    ("AssociateFaces", "faces", of_own(lambda names: {"UserId": "my-user", "FaceIds": [names.face]})),
    ("DisassociateFaces", "collection, user and faces", with_faces),
    ("DisassociateFaces", "user", lambda w, n: {"CollectionId": OWN, "UserId": n.user, "FaceIds": [w.own_face]}),
    ("DisassociateFaces", "faces", of_own(lambda names: {"UserId": "my-user", "FaceIds": [names.face]})),
    ("SearchUsers", "collection and user", users_request()),
    ("SearchUsers", "collection and face", lambda w, n: {"CollectionId": n.collection, "FaceId": n.face}),
    ("SearchUsers", "user", of_own(lambda names: {"UserId": names.user})),
    ("SearchUsers", "face", of_own(lambda names: {"FaceId": names.face})),
    ("SearchUsersByImage", "collection", with_photo(lambda names: names.collection)),
    ("TagResource", "arn", lambda world, names: {"ResourceArn": names.arn, "Tags": {"mine": "mine"}}),
    ("UntagResource", "arn", lambda world, names: {"ResourceArn": names.arn, "TagKeys": ["their-secret-name"]}),
    ("ListTagsForResource", "arn", lambda world, names: {"ResourceArn": names.arn}),
]

#: Operations that take no name of anything: they are tried too, and show nothing of anybody.
NAMELESS = ["CreateCollection", "DetectFaces", "CompareFaces"]


def comparable(answer: Answer, names: Names) -> tuple[int, object]:
    """What must not differ: all but the names that were asked for."""
    return answer.status, json.loads(names.hidden_in(answer.text))


def seen(world: World) -> str:
    """Everything that the owner can see of what is theirs."""
    name, owner = world.theirs.collection, world.owner
    answers = [
        owner.describe_collection(CollectionId=name),
        owner.list_collections(),
        owner.list_faces(CollectionId=name),
        owner.list_users(CollectionId=name),
        owner.list_tags_for_resource(ResourceArn=world.theirs.arn),
    ]
    return repr([{k: v for k, v in answer.items() if k != "ResponseMetadata"} for answer in answers])


@pytest.mark.parametrize(
    ("operation", "what", "request_of"), TABLE, ids=[f"{operation}: {what}" for operation, what, _ in TABLE]
)
def test_what_is_anothers_is_as_what_is_not_there(world, operation, what, request_of):
    before = seen(world)
    asked_theirs, asked_nobodys = request_of(world, world.theirs), request_of(world, world.nobodys)
    theirs = world.stranger.ask(operation, asked_theirs)
    nobodys = world.stranger.ask(operation, asked_nobodys)
    assert theirs.status < 500 and theirs.error != "UnknownOperationException", theirs.message
    assert comparable(theirs, world.theirs) == comparable(nobodys, world.nobodys)
    check_nothing_is_told(world, theirs, asked_theirs)
    assert seen(world) == before


def check_nothing_is_told(world: World, answer: Answer, asked: dict[str, object]) -> None:
    """Neither body nor headers have anything of the owner's but what was asked for."""
    told = answer.text + json.dumps(answer.headers)
    for secret in world.secrets:
        if secret not in json.dumps(asked):
            assert secret not in told


def test_names_are_each_tenants_own(world):
    """A tenant may have what another has of the same name, and it is another."""
    names = world.theirs
    made = world.stranger.ask("CreateCollection", {"CollectionId": names.collection})
    try:
        assert made.status == 200, made.text
        check_nothing_is_told(world, made, {})
        described = world.stranger.ask("DescribeCollection", {"CollectionId": names.collection})
        assert (described.json["FaceCount"], described.json["UserCount"]) == (0, 0)
        assert described.json["CollectionARN"] != names.arn
        user = {"CollectionId": names.collection, "UserId": names.user}
        assert world.stranger.ask("CreateUser", user).status == 200
        # What the stranger has now must not open what the owner has.
        face = world.stranger.ask("SearchFaces", {"CollectionId": names.collection, "FaceId": names.face})
        assert face.error == "InvalidParameterException"
        listed = world.stranger.ask("ListFaces", {"CollectionId": names.collection, "UserId": names.user})
        assert listed.json.get("Faces", []) == []
        token = {"CollectionId": names.collection, "NextToken": names.faces_token}
        assert world.stranger.ask("ListFaces", token).error == "InvalidPaginationTokenException"
        # The name is the stranger's own now, the account in the ARN is still the owner's.
        tags = world.stranger.ask("ListTagsForResource", {"ResourceArn": names.arn})
        assert tags.error == "ResourceNotFoundException", tags.text
    finally:
        world.stranger.ask("DeleteCollection", {"CollectionId": names.collection})


@pytest.mark.parametrize("operation", ["DetectFaces", "CompareFaces"])
def test_photos_are_compared_with_nothing_that_is_stored(world, operation):
    image = {"Bytes": world.photo}
    asked = {"Image": image} if operation == "DetectFaces" else {"SourceImage": image, "TargetImage": image}
    answer = world.stranger.ask(operation, asked)
    assert answer.status == 200, answer.text
    check_nothing_is_told(world, answer, {})


def test_listings_have_the_tenants_own_alone(world):
    for operation, asked in [
        ("ListCollections", {}),
        ("ListFaces", {"CollectionId": OWN}),
        ("ListUsers", {"CollectionId": OWN}),
    ]:
        answer = world.stranger.ask(operation, asked)
        assert answer.status == 200, answer.text
        check_nothing_is_told(world, answer, asked)


def test_the_table_has_every_operation():
    tried = {operation for operation, _, _ in TABLE}
    assert tried | set(NAMELESS) == set(FACE_OPERATIONS)
