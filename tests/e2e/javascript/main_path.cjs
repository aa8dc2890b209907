// The main path through the AWS SDK for JavaScript as it comes: create, index, search, list by pages, delete, and errors
// by their typed exceptions. Arguments: ENDPOINT REGION ENROLLED_PHOTO PROBE_PHOTO OTHER_PHOTO; credentials come from the
// environment. Prints what it saw as JSON; what is wrong is thrown.

const assert = require("node:assert/strict");
const { readFileSync } = require("node:fs");
const {
    CreateCollectionCommand,
    DeleteCollectionCommand,
    DeleteFacesCommand,
    DescribeCollectionCommand,
    IndexFacesCommand,
    InvalidPaginationTokenException,
    InvalidParameterException,
    ListFacesCommand,
    RekognitionClient,
    RekognitionServiceException,
    ResourceAlreadyExistsException,
    ResourceNotFoundException,
    SearchFacesByImageCommand,
    SearchFacesCommand,
    paginateListCollections,
    paginateListFaces,
} = require("@aws-sdk/client-rekognition");

const COLLECTION = "javascript";
const UNKNOWN_FACE = "00000000-0000-4000-8000-000000000001";

const [endpoint, region, ...paths] = process.argv.slice(2);
const [enrolled, probe, other] = paths.map((path) => ({ Bytes: readFileSync(path) }));
const client = new RekognitionClient({ endpoint, region, maxAttempts: 1 });
const named = { CollectionId: COLLECTION };

async function create() {
    const created = await client.send(new CreateCollectionCommand(named));
    assert.equal(created.StatusCode, 200);
    assert.ok(created.CollectionArn.endsWith(`:collection/${COLLECTION}`));
    assert.ok(created.$metadata.requestId);
}

async function index(image, externalImageId) {
    const answer = await client.send(
        new IndexFacesCommand({ ...named, Image: image, ExternalImageId: externalImageId }),
    );
    assert.equal(answer.FaceRecords.length, 1);
    const [{ Face: face, FaceDetail: detail }] = answer.FaceRecords;
    assert.equal(face.ExternalImageId, externalImageId);
    assert.equal(detail.Landmarks.length, 5);
    return face.FaceId;
}

async function search(first, second) {
    const byImage = await client.send(new SearchFacesByImageCommand({ ...named, Image: probe }));
    assert.deepEqual(byImage.FaceMatches.map((match) => match.Face.FaceId), [first]);
    assert.ok(byImage.FaceMatches[0].Similarity >= 80);
    const byFace = await client.send(
        new SearchFacesCommand({ ...named, FaceId: first, FaceMatchThreshold: 0, MaxFaces: 10 }),
    );
    assert.equal(byFace.SearchedFaceId, first);
    assert.deepEqual(byFace.FaceMatches.map((match) => match.Face.FaceId), [second]);
    return byImage.FaceMatches[0].Similarity;
}

async function pages(faces) {
    const seen = [];
    let count = 0;
    for await (const page of paginateListFaces({ client, pageSize: 1 }, named)) {
        seen.push(...page.Faces.map((face) => face.FaceId));
        count += 1;
    }
    assert.deepEqual(seen.sort(), [...faces].sort());
    assert.ok(count >= faces.length);
    const collections = [];
    for await (const page of paginateListCollections({ client }, {})) {
        collections.push(...page.CollectionIds);
    }
    assert.ok(collections.includes(COLLECTION));
    return count;
}

async function refused(command, exception) {
    await assert.rejects(client.send(command), (error) => {
        assert.ok(error instanceof exception, `${error.name}: ${error.message}`);
        assert.ok(error instanceof RekognitionServiceException);
        assert.equal(error.$metadata.httpStatusCode, 400);
        assert.ok(error.$metadata.requestId);
        assert.ok(error.message);
        return true;
    });
    return exception.name;
}

async function errors() {
    const missing = { CollectionId: "missing" };
    return [
        await refused(new CreateCollectionCommand(named), ResourceAlreadyExistsException),
        await refused(new DescribeCollectionCommand(missing), ResourceNotFoundException),
        await refused(new SearchFacesCommand({ ...named, FaceId: UNKNOWN_FACE }), InvalidParameterException),
        await refused(new ListFacesCommand({ ...named, NextToken: "AAAA" }), InvalidPaginationTokenException),
    ];
}

async function remove(first, second) {
    const deleted = await client.send(new DeleteFacesCommand({ ...named, FaceIds: [first, UNKNOWN_FACE] }));
    assert.deepEqual(deleted.DeletedFaces, [first]);
    assert.deepEqual(deleted.UnsuccessfulFaceDeletions[0].Reasons, ["FACE_NOT_FOUND"]);
    const left = await client.send(new SearchFacesByImageCommand({ ...named, Image: probe, FaceMatchThreshold: 0 }));
    assert.deepEqual(left.FaceMatches.map((match) => match.Face.FaceId), [second]);
    const described = await client.send(new DescribeCollectionCommand(named));
    assert.equal(described.FaceCount, 1);
    assert.ok(described.CreationTimestamp instanceof Date);
    await client.send(new DeleteCollectionCommand(named));
    await refused(new DescribeCollectionCommand(named), ResourceNotFoundException);
}

async function main() {
    await create();
    const first = await index(enrolled, "first");
    const second = await index(other, "second");
    assert.equal(await index(enrolled, "first"), first, "the same photo again is the same face");
    const similarity = await search(first, second);
    const pageCount = await pages([first, second]);
    const exceptions = await errors();
    await remove(first, second);
    console.log(JSON.stringify({ node: process.version, similarity, pages: pageCount, exceptions }));
}

main().catch((error) => {
    console.error(error);
    process.exitCode = 1;
});
