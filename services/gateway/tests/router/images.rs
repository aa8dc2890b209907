//! Photos in buckets.

use serde_json::json;

use crate::house::House;

#[tokio::test]
async fn a_mapped_bucket_is_read_and_nothing_else() {
    let house = House::new().await;
    house.create("staff").await;
    let alice = house.alice.tenant.clone();
    let prefix = "acme/in".parse::<vidimus_domain::catalog::ImportPrefix>().unwrap();
    house.catalog.map_bucket(&alice, "photos".parse().unwrap(), prefix.clone()).await.unwrap();
    house.photos.put(prefix.clone(), "a/b.jpg", b"photo".as_slice().into());
    house.photos.put(prefix, "large.jpg", vec![0; 15 * 1024 * 1024 + 1].into());
    let image = |bucket: &str, name: &str| json!({"S3Object": {"Bucket": bucket, "Name": name}});
    let detect = |image: serde_json::Value| json!({ "Image": image });
    house.ok("DetectFaces", detect(image("photos", "a/b.jpg"))).await;
    assert_eq!(house.roles.detect_faces.was_asked().photo.as_ref(), b"photo");
    let gone = ("InvalidS3ObjectException", "Unable to get object metadata");
    for missing in [image("photos", "none"), image("other", "a/b.jpg")] {
        house.refuses("DetectFaces", detect(missing), gone).await;
    }
    let large = ("ImageTooLargeException", "at most 15728640 bytes");
    house.refuses("DetectFaces", detect(image("photos", "large.jpg")), large).await;
    let half = json!({"S3Object": {"Bucket": "photos"}});
    house.refuses("DetectFaces", detect(half), ("InvalidParameterException", "Bucket and Name")).await;
    let reply = house.call(&house.bob, "DetectFaces", detect(image("photos", "a/b.jpg"))).await;
    assert_eq!(reply.error().0, gone.0, "I1");
    house.catalog.unmap_bucket(&alice, &"photos".parse().unwrap()).await.unwrap();
    house.refuses("DetectFaces", detect(image("photos", "a/b.jpg")), gone).await;
    assert!(house.roles.detect_faces.was_not_asked());
}

#[tokio::test]
async fn tags_are_kept_and_are_the_tenants_own() {
    let house = House::new().await;
    let made = json!({"CollectionId": "staff", "Tags": {"team": "door"}});
    let arn = house.ok("CreateCollection", made).await["CollectionArn"].as_str().unwrap().to_owned();
    let tag = |tags: serde_json::Value| json!({"ResourceArn": arn, "Tags": tags});
    house.ok("TagResource", tag(json!({"team": "gate", "stage": ""}))).await;
    let listed = house.ok("ListTagsForResource", json!({ "ResourceArn": arn })).await;
    assert_eq!(listed, json!({"Tags": {"team": "gate", "stage": ""}}));
    house.ok("UntagResource", json!({"ResourceArn": arn, "TagKeys": ["team", "unknown"]})).await;
    let listed = house.ok("ListTagsForResource", json!({ "ResourceArn": arn })).await;
    assert_eq!(listed, json!({"Tags": {"stage": ""}}));
    let many = (0..50).map(|n| (format!("k{n}"), json!("v"))).collect::<serde_json::Value>();
    house.refuses("TagResource", tag(many), ("ServiceQuotaExceededException", "at most 50 tags")).await;
    let reply = house.call(&house.bob, "ListTagsForResource", json!({ "ResourceArn": arn })).await;
    assert_eq!(reply.error().0, "ResourceNotFoundException", "I1");
    for malformed in ["arn:aws:s3:::bucket-of-someone", "arn:aws:rekognition:r:1:project/x/version/y"] {
        let request = json!({ "ResourceArn": malformed });
        house.refuses("ListTagsForResource", request, ("InvalidParameterException", "ARN")).await;
    }
}
