//! IndexFaces, ListFaces, DeleteFaces, SearchFaces, SearchFacesByImage.

use serde_json::{Value, json};
use vidimus_domain::{FaceId, FaceNumber, ImageId};
use vidimus_proto::internal::v1;

use crate::house::House;

const PHOTO: &str = "/9hoZWxsbw==";
const PHOTO_BYTES: &[u8] = b"\xff\xd8hello";

fn face(number: u32) -> FaceId {
    ImageId::from_random([0xab; 16]).face(FaceNumber::new(number).unwrap())
}

fn bounding_box() -> v1::BoundingBox {
    v1::BoundingBox { left: 0.25, top: 0.125, width: 0.5, height: 0.75 }
}

fn view(number: u32) -> v1::FaceView {
    v1::FaceView {
        face_id: face(number).to_bytes().to_vec(),
        bounding_box: Some(bounding_box()),
        confidence: 0.5,
        external_image_id: "ada:1".to_owned(),
        user_id: String::new(),
    }
}

fn detected() -> v1::DetectedFace {
    v1::DetectedFace {
        bounding_box: Some(bounding_box()),
        landmarks: (1..=5).map(|n| v1::Point { x: n as f32, y: 0.5 }).collect(),
        confidence: 0.75,
        pose: Some(v1::Pose { roll: 1.0, yaw: -2.0, pitch: 3.0 }),
        quality: Some(v1::Quality { brightness: 60.0, sharpness: 70.0 }),
        template: Vec::new(),
    }
}

fn face_json(number: u32) -> Value {
    json!({
        "FaceId": face(number).to_string(),
        "BoundingBox": {"Width": 0.5, "Height": 0.75, "Left": 0.25, "Top": 0.125},
        "ImageId": face(number).image().to_string(),
        "ExternalImageId": "ada:1",
        "Confidence": 50.0,
        "IndexFacesModelVersion": "1.0",
    })
}

fn detail_json() -> Value {
    json!({
        "BoundingBox": {"Width": 0.5, "Height": 0.75, "Left": 0.25, "Top": 0.125},
        "Confidence": 75.0,
        "Landmarks": [
            {"Type": "eyeLeft", "X": 1.0, "Y": 0.5},
            {"Type": "eyeRight", "X": 2.0, "Y": 0.5},
            {"Type": "nose", "X": 3.0, "Y": 0.5},
            {"Type": "mouthLeft", "X": 4.0, "Y": 0.5},
            {"Type": "mouthRight", "X": 5.0, "Y": 0.5},
        ],
        "Pose": {"Roll": 1.0, "Yaw": -2.0, "Pitch": 3.0},
        "Quality": {"Brightness": 60.0, "Sharpness": 70.0},
    })
}

async fn house() -> House {
    let house = House::new().await;
    house.create("staff").await;
    house
}

#[tokio::test]
async fn a_photo_is_enrolled() {
    let house = house().await;
    house.roles.index.will_answer(v1::IndexFacesResponse {
        faces: vec![v1::IndexedFace { face: Some(view(1)), detected: Some(detected()) }],
        unindexed: vec![v1::UnindexedFace {
            reasons: vec!["EXCEEDS_MAX_FACES".to_owned()],
            detected: Some(detected()),
        }],
    });
    let input = json!({
        "CollectionId": "staff", "Image": {"Bytes": PHOTO}, "ExternalImageId": "ada:1", "MaxFaces": 1,
        "QualityFilter": "HIGH", "DetectionAttributes": ["ALL"],
    });
    let mut request = house.signed(&house.alice, "IndexFaces", input.to_string().into_bytes());
    request.headers_mut().insert("amz-sdk-invocation-id", "retry-1".parse().unwrap());
    let reply = house.send(request).await;
    let request_id = reply.header("x-amzn-requestid").to_owned();
    let expected = json!({
        "FaceRecords": [{"Face": face_json(1), "FaceDetail": detail_json()}],
        "FaceModelVersion": "1.0",
        "UnindexedFaces": [{"Reasons": ["EXCEEDS_MAX_FACES"], "FaceDetail": detail_json()}],
    });
    assert_eq!(reply.ok(), expected);

    let asked = house.roles.index.was_asked();
    assert_eq!(&asked.photo[..], PHOTO_BYTES);
    assert_eq!((asked.external_image_id.as_str(), asked.faces_max), ("ada:1", 1));
    assert_eq!(asked.retry_id, "retry-1");
    assert_eq!(asked.quality_filter(), v1::QualityFilter::High);
    let caller = v1::Caller { request_id, principal: house.alice.key.id.to_string() };
    assert_eq!(asked.caller, Some(caller));
    let tenant = house.catalog.tenant(&house.alice.tenant).await.unwrap();
    assert_eq!(asked.collection.unwrap().tenant, tenant.id.to_string());
}

#[tokio::test]
async fn what_an_enrolment_leaves_out_has_its_default() {
    let house = house().await;
    let reply = house.ok("IndexFaces", json!({"CollectionId": "staff", "Image": {"Bytes": PHOTO}})).await;
    assert_eq!(reply, json!({"FaceRecords": [], "FaceModelVersion": "1.0", "UnindexedFaces": []}));
    let asked = house.roles.index.was_asked();
    assert_eq!((asked.external_image_id.as_str(), asked.faces_max, asked.retry_id.as_str()), ("", 0, ""));
    assert_eq!(asked.quality_filter(), v1::QualityFilter::Auto);
}

#[tokio::test]
async fn a_search_says_what_its_scores_mean() {
    let house = house().await;
    let candidate = |number, similarity, false_match_rate| v1::Candidate {
        face: Some(view(number)),
        similarity,
        cosine: 0.5,
        false_match_rate,
    };
    let response = v1::SearchResponse {
        searched: Some(detected()),
        candidates: vec![candidate(1, 97.5, 1e-6), candidate(2, 90.0, 3e-5)],
        meaning: Some(v1::ScoreMeaning {
            threshold_cosine: 0.5,
            false_match_rate: 1e-4,
            gallery_faces: 1000,
            expected_strangers: 0.1,
            extrapolated: true,
            threshold_similarity: 80.0,
        }),
    };
    house.roles.search_by_image.will_answer(response.clone());
    let input = json!({"CollectionId": "staff", "Image": {"Bytes": PHOTO}});
    let reply = house.call(&house.alice, "SearchFacesByImage", input).await;
    assert_eq!(reply.header("x-vidimus-fmr"), "1.000e-4");
    assert_eq!(reply.header("x-vidimus-expected-strangers"), "1.000e-1");
    assert_eq!(reply.header("x-vidimus-extrapolated"), "true");
    assert_eq!(reply.header("x-vidimus-gallery-faces"), "1000");
    let meaning = json!({
        "FalseMatchRate": 1e-4, "ExpectedStrangers": 0.1, "Extrapolated": true, "GalleryFaces": 1000,
        "ThresholdCosine": 0.5,
        "ThresholdSimilarity": 80.0,
    });
    let matches = json!([
        {"Similarity": 97.5, "Face": face_json(1), "Vidimus": {"FalseMatchRate": 1e-6, "Cosine": 0.5}},
        {"Similarity": 90.0, "Face": face_json(2), "Vidimus": {"FalseMatchRate": 3e-5, "Cosine": 0.5}},
    ]);
    let expected = json!({
        "SearchedFaceBoundingBox": {"Width": 0.5, "Height": 0.75, "Left": 0.25, "Top": 0.125},
        "SearchedFaceConfidence": 75.0, "FaceMatches": matches, "FaceModelVersion": "1.0", "Vidimus": meaning,
    });
    assert_eq!(reply.ok(), expected);
    let asked = house.roles.search_by_image.was_asked();
    assert_eq!(&asked.photo[..], PHOTO_BYTES);
    assert_eq!((asked.faces_max, asked.threshold_similarity), (100, 80.0));
    assert_eq!(asked.quality_filter(), v1::QualityFilter::None);

    house.roles.search.will_answer(v1::SearchResponse { searched: None, ..response });
    let input = json!({
        "CollectionId": "staff", "FaceId": face(9).to_string(), "MaxFaces": 4096, "FaceMatchThreshold": 99.5,
    });
    let found = house.ok("SearchFaces", input).await;
    assert_eq!(found["SearchedFaceId"], json!(face(9).to_string()));
    assert_eq!((&found["FaceMatches"], &found["Vidimus"]), (&matches, &meaning));
    assert!(found.get("SearchedFaceBoundingBox").is_none());
    let asked = house.roles.search.was_asked();
    assert_eq!((asked.faces_max, asked.threshold_similarity), (4096, 99.5));
    assert_eq!(asked.face_id, face(9).to_bytes());
}

#[tokio::test]
async fn faces_are_listed_by_pages() {
    let house = house().await;
    house.create("others").await;
    let page =
        v1::ListFacesResponse { faces: vec![view(1), view(2)], last_face_id: face(2).to_bytes().to_vec() };
    house.roles.list.will_answer(page.clone());
    let listed = house.ok("ListFaces", json!({"CollectionId": "staff", "MaxResults": 2})).await;
    assert_eq!(listed["Faces"], json!([face_json(1), face_json(2)]));
    assert_eq!(listed["FaceModelVersion"], "1.0");
    let asked = house.roles.list.was_asked();
    assert_eq!((asked.faces_max, asked.after_face_id.len()), (2, 0));

    house.roles.list.will_answer(v1::ListFacesResponse { last_face_id: Vec::new(), ..page });
    let token = listed["NextToken"].clone();
    let input = json!({"CollectionId": "staff", "NextToken": token, "MaxResults": 0});
    assert!(house.ok("ListFaces", input.clone()).await.get("NextToken").is_none());
    let asked = house.roles.list.was_asked();
    assert_eq!((asked.faces_max, asked.after_face_id), (1000, face(2).to_bytes().to_vec()));

    let invalid = "InvalidPaginationTokenException";
    let of_others = json!({"CollectionId": "others", "NextToken": token});
    house.refuses("ListFaces", of_others, (invalid, "Invalid")).await;
    // A collection of the same name is another collection.
    house.ok("DeleteCollection", json!({"CollectionId": "staff"})).await;
    house.create("staff").await;
    house.refuses("ListFaces", input, (invalid, "Invalid")).await;

    let ids = [face(1).to_string(), face(2).to_string(), face(1).to_string()];
    house.ok("ListFaces", json!({"CollectionId": "staff", "FaceIds": ids})).await;
    let asked = house.roles.list.was_asked();
    assert_eq!(asked.face_ids, [face(1), face(2)].map(|id| id.to_bytes().to_vec()), "each once");
    let of_user = json!({"CollectionId": "staff", "UserId": "ada"});
    house.ok("ListFaces", of_user).await;
    assert_eq!(house.roles.list.was_asked().user_id, "ada");
}

#[tokio::test]
async fn faces_are_deleted_and_those_that_were_not_are_named() {
    let house = house().await;
    let undeleted = |number, user_id: &str, reason: &str| v1::UndeletedFace {
        face_id: face(number).to_bytes().to_vec(),
        user_id: user_id.to_owned(),
        reason: reason.to_owned(),
    };
    house.roles.delete.will_answer(v1::DeleteFacesResponse {
        deleted: vec![face(1).to_bytes().to_vec()],
        undeleted: vec![
            undeleted(2, "", "FACE_NOT_FOUND"),
            undeleted(3, "ada", "ASSOCIATED_TO_AN_EXISTING_USER"),
        ],
    });
    let ids = [1, 2, 3].map(|number| face(number).to_string());
    let deleted = house.ok("DeleteFaces", json!({"CollectionId": "staff", "FaceIds": ids})).await;
    let expected = json!({
        "DeletedFaces": [ids[0]],
        "UnsuccessfulFaceDeletions": [
            {"FaceId": ids[1], "Reasons": ["FACE_NOT_FOUND"]},
            {"FaceId": ids[2], "UserId": "ada", "Reasons": ["ASSOCIATED_TO_AN_EXISTING_USER"]},
        ],
    });
    assert_eq!(deleted, expected);
    assert_eq!(house.roles.delete.was_asked().face_ids.len(), 3);
}

#[tokio::test]
async fn photos_that_are_none_are_refused_before_any_work() {
    let house = house().await;
    let object = json!({"Bucket": "photos", "Name": "ada.jpg"});
    let too_many_bytes = "A".repeat(5_242_880 / 3 * 4 + 8);
    for operation in ["IndexFaces", "SearchFacesByImage"] {
        for (image, error_type, message) in [
            (json!({}), "InvalidParameterException", "Image needs Bytes or S3Object"),
            (json!({"Bytes": PHOTO, "S3Object": object}), "InvalidParameterException", "give one"),
            (json!({"S3Object": object}), "InvalidS3ObjectException", "Unable to get object metadata"),
            (json!({"Bytes": ""}), "InvalidParameterException", "'image.bytes'"),
            (json!({"Bytes": "c2VjcmV0!"}), "SerializationException", "standard base64"),
            (json!({"Bytes": "_9hoZWxsbw=="}), "SerializationException", "standard base64"),
            (json!({"Bytes": "/9hoZWxsbw"}), "SerializationException", "standard base64"),
            (json!({"Bytes": too_many_bytes}), "ImageTooLargeException", "at most 5242880 bytes"),
            (json!({"Bytes": "A".repeat(9_000_000)}), "ImageTooLargeException", "at most 5242880 bytes"),
        ] {
            let input = json!({"CollectionId": "staff", "Image": image});
            house.refuses(operation, input, (error_type, message)).await;
        }
    }
    assert!(house.roles.index.was_not_asked() && house.roles.search_by_image.was_not_asked());
}

#[tokio::test]
async fn the_largest_photo_goes_through() {
    let house = house().await;
    let largest = format!("{}=", "A".repeat(5_242_880_usize.div_ceil(3) * 4 - 1));
    house.ok("IndexFaces", json!({"CollectionId": "staff", "Image": {"Bytes": largest}})).await;
    assert_eq!(house.roles.index.was_asked().photo.len(), 5_242_880);
}

#[tokio::test]
async fn every_operation_on_faces_needs_its_collection() {
    let house = house().await;
    house.call(&house.bob, "CreateCollection", json!({"CollectionId": "bobs"})).await.ok();
    let image = json!({"Bytes": PHOTO});
    let id = face(1).to_string();
    for (operation, rest) in [
        ("IndexFaces", json!({"Image": image})),
        ("ListFaces", json!({})),
        ("DeleteFaces", json!({"FaceIds": [id]})),
        ("SearchFaces", json!({"FaceId": id})),
        ("SearchFacesByImage", json!({"Image": image})),
        ("DescribeCollection", json!({})),
    ] {
        for name in ["nowhere", "bobs"] {
            let mut input = rest.clone();
            input["CollectionId"] = json!(name);
            let message = format!("The collection id: {name} does not exist");
            house.refuses(operation, input, ("ResourceNotFoundException", &message)).await;
        }
    }
}
