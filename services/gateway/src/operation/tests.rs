use serde_json::{Value, json};

use super::*;
use crate::constraint::check;

/// The constraint rows of every operation, checked at their edges: (operation, member path, good values, bad values).
fn check_edges(operation: &str, base: &Value, member: &str, (good, bad): (&[Value], &[Value])) {
    let row = find(&format!("RekognitionService.{operation}")).unwrap();
    let with = |value: &Value| {
        let mut request = base.clone();
        *request.pointer_mut(member).unwrap() = value.clone();
        request.as_object().unwrap().clone()
    };
    for value in good {
        assert_eq!(check(row.members, &with(value)), Ok(()), "{operation} {member} {value}");
    }
    for value in bad {
        assert!(check(row.members, &with(value)).is_err(), "{operation} {member} {value}");
    }
}

const FACE: &str = "0123abcd-0123-4123-8123-0123456789ab";

/// A right request of every operation with every member that has a row.
fn requests() -> [(&'static str, Value); 21] {
    let photo = json!({"Bytes": "AAAA", "S3Object": {"Bucket": "abc", "Name": "n", "Version": "v"}});
    let named = json!({"CollectionId": "c"});
    let user = json!({"CollectionId": "c", "UserId": "u", "ClientRequestToken": "t"});
    let arn = "arn:aws:rekognition:r:123456789012:collection/c";
    let options = json!({"TargetFpir": 0.1});
    [
        ("CreateCollection", json!({"CollectionId": "c", "Tags": {"k": "v"}})),
        ("DescribeCollection", named.clone()),
        ("ListCollections", json!({"NextToken": "t", "MaxResults": 5})),
        ("DeleteCollection", named),
        (
            "IndexFaces",
            json!({"CollectionId": "c", "Image": photo, "ExternalImageId": "e", "DetectionAttributes": ["ALL"],
                "MaxFaces": 5, "QualityFilter": "AUTO", "Vidimus": {"ExpiresAt": 2e9}}),
        ),
        (
            "ListFaces",
            json!({"CollectionId": "c", "NextToken": "t", "MaxResults": 5, "UserId": "u", "FaceIds": [FACE]}),
        ),
        ("DeleteFaces", json!({"CollectionId": "c", "FaceIds": [FACE]})),
        (
            "SearchFaces",
            json!({"CollectionId": "c", "FaceId": FACE, "MaxFaces": 5, "FaceMatchThreshold": 80.0,
                "Vidimus": options}),
        ),
        (
            "SearchFacesByImage",
            json!({"CollectionId": "c", "Image": photo, "MaxFaces": 5, "FaceMatchThreshold": 80.0,
                "QualityFilter": "NONE", "Vidimus": options}),
        ),
        ("DetectFaces", json!({"Image": photo, "Attributes": ["DEFAULT"]})),
        (
            "CompareFaces",
            json!({"SourceImage": photo, "TargetImage": photo, "SimilarityThreshold": 80.0,
                "QualityFilter": "NONE"}),
        ),
        ("CreateUser", user.clone()),
        ("DeleteUser", user),
        ("ListUsers", json!({"CollectionId": "c", "MaxResults": 5, "NextToken": "t"})),
        (
            "AssociateFaces",
            json!({"CollectionId": "c", "UserId": "u", "FaceIds": [FACE], "UserMatchThreshold": 75.0,
                "ClientRequestToken": "t"}),
        ),
        (
            "DisassociateFaces",
            json!({"CollectionId": "c", "UserId": "u", "FaceIds": [FACE], "ClientRequestToken": "t"}),
        ),
        (
            "SearchUsers",
            json!({"CollectionId": "c", "UserId": "u", "FaceId": FACE, "UserMatchThreshold": 80.0,
                "MaxUsers": 5, "Vidimus": options}),
        ),
        (
            "SearchUsersByImage",
            json!({"CollectionId": "c", "Image": photo, "UserMatchThreshold": 80.0, "MaxUsers": 5,
                "QualityFilter": "NONE", "Vidimus": options}),
        ),
        ("TagResource", json!({"ResourceArn": arn, "Tags": {"k": "v"}})),
        ("UntagResource", json!({"ResourceArn": arn, "TagKeys": ["k"]})),
        ("ListTagsForResource", json!({"ResourceArn": arn})),
    ]
}

fn request(operation: &str) -> Value {
    requests().into_iter().find(|(name, _)| *name == operation).unwrap().1
}

fn check_everywhere(operations: &[&str], member: &str, good: &[Value], bad: &[Value]) {
    for operation in operations {
        check_edges(operation, &request(operation), member, (good, bad));
    }
}

#[test]
fn every_operation_takes_its_whole_request() {
    for (operation, request) in requests() {
        let row = find(&format!("RekognitionService.{operation}")).unwrap();
        assert_eq!(check(row.members, request.as_object().unwrap()), Ok(()), "{operation}");
        let named = row.members.iter().map(|member| member.name).collect::<std::collections::HashSet<_>>();
        let given = request.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(named, given, "{operation}: the test gives every member that has a row");
    }
}

#[test]
fn collection_ids() {
    let operations = [
        "CreateCollection",
        "DescribeCollection",
        "DeleteCollection",
        "IndexFaces",
        "ListFaces",
        "DeleteFaces",
        "SearchFaces",
        "SearchFacesByImage",
    ];
    let (good, bad) = (
        [json!("a"), json!("A_z.9-"), json!("x".repeat(255))],
        [json!(null), json!(""), json!("x".repeat(256)), json!("a b"), json!("a:b"), json!("ä"), json!(1)],
    );
    check_everywhere(&operations, "/CollectionId", &good, &bad);
}

#[test]
fn tags() {
    let many = |count: usize| (0..count).map(|n| (format!("k{n}"), json!("v"))).collect::<Value>();
    check_everywhere(
        &["CreateCollection"],
        "/Tags",
        &[
            json!(null),
            json!({}),
            many(200),
            json!({"ö 1_.:/=+-@": ""}),
            json!({"k".repeat(128): "v".repeat(256)}),
        ],
        &[
            many(201),
            json!({"": "v"}),
            json!({"k".repeat(129): "v"}),
            json!({"k": "v".repeat(257)}),
            json!({"aws:k": "v"}),
            json!({"k!": "v"}),
            json!({"k": "v!"}),
            json!([]),
        ],
    );
}

#[test]
fn pages() {
    let operations = ["ListCollections", "ListFaces"];
    let sizes = [json!(null), json!(0), json!(4096)];
    check_everywhere(&operations, "/MaxResults", &sizes, &[json!(-1), json!(4097), json!("5"), json!(0.5)]);
    let tokens = [json!(null), json!(""), json!("t".repeat(255))];
    check_everywhere(&operations, "/NextToken", &tokens, &[json!("t".repeat(256)), json!(1)]);
}

#[test]
fn ids_of_faces() {
    let bad_ids = [
        String::new(),
        FACE.to_uppercase(),
        FACE.replace('-', ""),
        format!("{FACE}0"),
        FACE.replace('a', "g"),
    ];
    let bad = bad_ids.iter().map(|id| json!(id)).chain([json!(null), json!(5)]).collect::<Vec<_>>();
    check_everywhere(&["SearchFaces"], "/FaceId", &[json!(FACE)], &bad);
    let many = |count: usize| json!(vec![FACE; count]);
    let mut bad_lists = bad_ids.iter().map(|id| json!([FACE, id])).collect::<Vec<_>>();
    bad_lists.extend([json!([]), many(4097), json!(FACE), json!([5])]);
    check_everywhere(&["ListFaces", "DeleteFaces"], "/FaceIds", &[many(1), many(4096)], &bad_lists);
    check_everywhere(&["ListFaces"], "/FaceIds", &[json!(null)], &[]);
    check_everywhere(&["DeleteFaces"], "/FaceIds", &[], &[json!(null)]);
}

#[test]
fn names_of_images_and_users() {
    let external = [json!(null), json!("a"), json!("a:b_c.d-E9"), json!("x".repeat(255))];
    let bad = [json!(""), json!("x".repeat(256)), json!("a b"), json!("ä"), json!("a/b"), json!(7)];
    check_everywhere(&["IndexFaces"], "/ExternalImageId", &external, &bad);
    let users = [json!(null), json!("a"), json!("a:b_c.d-E9"), json!("x".repeat(128))];
    let bad = [json!(""), json!("x".repeat(129)), json!("a b"), json!("ä")];
    check_everywhere(&["ListFaces"], "/UserId", &users, &bad);
}

#[test]
fn numbers_of_searches_and_enrolments() {
    let searches = ["SearchFaces", "SearchFacesByImage"];
    let faces = [json!(null), json!(1), json!(4096)];
    check_everywhere(&searches, "/MaxFaces", &faces, &[json!(0), json!(-1), json!(4097), json!("1")]);
    let thresholds = [json!(null), json!(0), json!(0.0), json!(99.9), json!(100)];
    let bad = [json!(-0.001), json!(100.001), json!("80"), json!(true)];
    check_everywhere(&searches, "/FaceMatchThreshold", &thresholds, &bad);
    let faces = [json!(null), json!(1), json!(4097), json!(i32::MAX)];
    check_everywhere(
        &["IndexFaces"],
        "/MaxFaces",
        &faces,
        &[json!(0), json!(-1), json!(i64::from(i32::MAX) + 1)],
    );
}

#[test]
fn enumerations() {
    let filters = ["NONE", "AUTO", "LOW", "MEDIUM", "HIGH"].map(|filter| json!(filter));
    let bad = [json!(""), json!("auto"), json!("BEST"), json!(1)];
    check_everywhere(&["IndexFaces", "SearchFacesByImage"], "/QualityFilter", &filters, &bad);
    let attributes = [json!(null), json!([]), json!(["DEFAULT"]), json!(["DEFAULT", "SUNGLASSES", "GENDER"])];
    let bad = [json!(["default"]), json!(["ALL", "X"]), json!("ALL")];
    check_everywhere(&["IndexFaces"], "/DetectionAttributes", &attributes, &bad);
}

#[test]
fn photos() {
    let operations = ["IndexFaces", "SearchFacesByImage", "DetectFaces", "SearchUsersByImage"];
    check_everywhere(&operations, "/Image", &[json!({})], &[json!(null), json!("AAAA"), json!([])]);
    let largest = "A".repeat(5_242_880 / 3 * 4 + 2);
    let bytes = [json!(null), json!("AAAA"), json!(format!("{largest}="))];
    check_everywhere(
        &operations,
        "/Image/Bytes",
        &bytes,
        &[json!(""), json!([1]), json!(format!("{largest}AA"))],
    );
    let buckets = [json!(null), json!("a.-"), json!("x".repeat(255))];
    let bad = [json!("ab"), json!("x".repeat(256)), json!("a/b")];
    check_everywhere(&operations, "/Image/S3Object/Bucket", &buckets, &bad);
    for member in ["/Image/S3Object/Name", "/Image/S3Object/Version"] {
        let names = [json!(null), json!("a/ä b"), json!("x".repeat(1024))];
        check_everywhere(&operations, member, &names, &[json!(""), json!("x".repeat(1025))]);
    }
    for row in &OPERATIONS {
        let compares = row.name == "CompareFaces";
        assert_eq!(row.takes_photo(), compares || operations.contains(&row.name), "{}", row.name);
    }
}

#[test]
fn only_our_targets_are_found() {
    assert_eq!(find("RekognitionService.IndexFaces").map(|row| row.name), Some("IndexFaces"));
    for (target, reason) in [
        ("RekognitionService.StartFaceSearch", "StartFaceSearch is not available here yet."),
        ("RekognitionService.DetectLabels", "DetectLabels is not offered"),
        ("RekognitionService.Nonsense", "X-Amz-Target names no operation"),
        ("RekognitionService.indexFaces", "X-Amz-Target names no operation"),
        ("IndexFaces", "X-Amz-Target names no operation"),
        ("DynamoDB_20120810.IndexFaces", "X-Amz-Target names no operation"),
        ("", "X-Amz-Target names no operation"),
    ] {
        assert!(find(target).is_none(), "{target}");
        let error = unknown(target);
        assert_eq!(error.error_type, ErrorType::UnknownOperation);
        assert!(error.message.starts_with(reason), "{target}: {error}");
    }
}
