//! CreateCollection, DescribeCollection, ListCollections, DeleteCollection.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use vidimus_proto::internal::v1;

use crate::house::House;

#[tokio::test]
async fn a_collection_is_created_described_and_deleted() {
    let house = House::new().await;
    let arn = format!("arn:aws:rekognition:eu-west-1:{}:collection/Staff.1", house.alice.account);
    let created = house.ok("CreateCollection", json!({"CollectionId": "Staff.1", "Tags": {}})).await;
    assert_eq!(created, json!({"StatusCode": 200, "CollectionArn": arn, "FaceModelVersion": "1.0"}));

    house.roles.count.will_answer(v1::CountFacesResponse { faces: 7, users: 0 });
    let described = house.ok("DescribeCollection", json!({"CollectionId": "Staff.1"})).await;
    let expected = json!({
        "FaceCount": 7, "UserCount": 0, "FaceModelVersion": "1.0", "CollectionARN": arn,
        "CreationTimestamp": 1_795_377_900.0,
    });
    assert_eq!(described, expected);
    let asked = house.roles.count.was_asked().collection.unwrap();
    assert_eq!(asked.name, "Staff.1");

    let deleted = house.ok("DeleteCollection", json!({"CollectionId": "Staff.1"})).await;
    assert_eq!(deleted, json!({"StatusCode": 200}));
    let missing = "The collection id: Staff.1 does not exist";
    for operation in ["DescribeCollection", "DeleteCollection"] {
        house
            .refuses(operation, json!({"CollectionId": "Staff.1"}), ("ResourceNotFoundException", missing))
            .await;
    }
}

#[tokio::test]
async fn names_are_unique_in_a_tenant_and_only_there() {
    let house = House::new().await;
    house.create("staff").await;
    let input = json!({"CollectionId": "staff"});
    let exists = "The collection id: staff already exists";
    house.refuses("CreateCollection", input.clone(), ("ResourceAlreadyExistsException", exists)).await;
    house.call(&house.bob, "DescribeCollection", input.clone()).await.error();
    house.call(&house.bob, "CreateCollection", input.clone()).await.ok();
    house.call(&house.bob, "DeleteCollection", input.clone()).await.ok();
    house.ok("DescribeCollection", input).await;
}

#[tokio::test]
async fn collections_are_listed_by_pages() {
    let house = House::new().await;
    let names = (0..7).map(|number| format!("c{number}")).collect::<BTreeSet<_>>();
    for name in &names {
        house.create(name).await;
    }
    house.call(&house.bob, "CreateCollection", json!({"CollectionId": "bobs"})).await.ok();
    for (size, pages) in [(1, 7), (3, 3), (7, 1), (8, 1), (0, 1)] {
        let (mut listed, mut count, mut token) = (BTreeSet::new(), 0, Value::Null);
        loop {
            let page = house.ok("ListCollections", json!({"MaxResults": size, "NextToken": token})).await;
            let ids = page["CollectionIds"].as_array().unwrap();
            let versions = page["FaceModelVersions"].as_array().unwrap();
            assert_eq!(versions, &vec![json!("1.0"); ids.len()], "parallel arrays");
            listed.extend(ids.iter().map(|id| id.as_str().unwrap().to_owned()));
            count += 1;
            token = page["NextToken"].clone();
            if token.is_null() {
                break;
            }
            assert!(token.as_str().unwrap().len() <= 255);
        }
        assert_eq!((&listed, count), (&names, pages), "by {size}");
    }
}

#[tokio::test]
async fn a_page_token_is_its_listings_own_and_ages() {
    let house = House::new().await;
    for name in ["a", "b"] {
        house.create(name).await;
    }
    let page = house.ok("ListCollections", json!({"MaxResults": 1})).await;
    let input = json!({"MaxResults": 1, "NextToken": page["NextToken"]});
    house.ok("ListCollections", input.clone()).await;
    let invalid = "InvalidPaginationTokenException";
    assert_eq!(house.call(&house.bob, "ListCollections", input.clone()).await.error().0, invalid);
    house
        .refuses("ListCollections", json!({"NextToken": "nonsense"}), (invalid, "Invalid Pagination Token"))
        .await;
    let of_faces = json!({"CollectionId": "a", "NextToken": page["NextToken"]});
    house.refuses("ListFaces", of_faces, (invalid, "Invalid Pagination Token")).await;
    house.clock.advance(std::time::Duration::from_secs(24 * 3600));
    house.refuses("ListCollections", input, (invalid, "Invalid Pagination Token")).await;
}
