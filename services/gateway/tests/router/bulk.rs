//! BulkIndex: a job's stream of photos, and what is answered.

use futures::{StreamExt, TryStreamExt, stream};
use tonic::Code;
use vidimus_domain::{ErrorCode, FaceNumber, Failure, ImageId};
use vidimus_gateway::{GatewayConfig, TenantLimits};
use vidimus_proto::api;
use vidimus_proto::internal::v1;

use crate::grpc::as_alice;
use crate::house::House;

fn begins(collection: &str, job_id: &str) -> api::BulkIndexRequest {
    let (collection_id, job_id) = (collection.to_owned(), job_id.to_owned());
    api::BulkIndexRequest { collection_id, job_id, photo: None }
}

fn photo(name: &str, bytes: usize) -> api::BulkIndexRequest {
    let photo = api::BulkPhoto {
        name: name.to_owned(),
        external_image_id: Some(format!("external-{name}")),
        bytes: vec![7; bytes].into(),
    };
    api::BulkIndexRequest { photo: Some(photo), ..api::BulkIndexRequest::default() }
}

/// What is answered to a job's messages, by the photos' names; or the code that the stream ends with.
async fn run(
    house: &House,
    messages: Vec<api::BulkIndexRequest>,
) -> Result<Vec<api::BulkIndexResponse>, Code> {
    let answers = as_alice(house).bulk_index(stream::iter(messages)).await.map_err(|status| status.code())?;
    let mut answers = answers.into_inner().try_collect::<Vec<_>>().await.map_err(|status| status.code())?;
    answers.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(answers)
}

fn enrolled() -> v1::BulkState {
    let image = ImageId::from_random([7; 16]);
    v1::BulkState {
        image_id: image.to_bytes().to_vec(),
        outcome: v1::BulkOutcome::Enrolled.into(),
        reason: String::new(),
        face_ids: vec![image.face(FaceNumber::FIRST).to_bytes().to_vec()],
    }
}

#[tokio::test]
async fn every_photo_of_a_job_is_offered_and_answered() {
    let house = House::new().await;
    house.create("staff").await;
    house.roles.accept_photo.will_answer(enrolled());
    let messages = vec![begins("staff", "job"), photo("a", 10), photo("b", 10), photo("large", 5_242_881)];
    let answers = run(&house, messages).await.unwrap();
    let told = answers.iter().map(|answer| (answer.name.as_str(), answer.outcome.as_str()));
    assert_eq!(told.collect::<Vec<_>>(), [("a", "ENROLLED"), ("b", "ENROLLED"), ("large", "REFUSED")]);
    assert_eq!(answers[0].face_ids.len(), 1);
    assert!(answers[0].face_ids[0].starts_with(&answers[0].image_id[..32]), "a face names its image");
    assert!(answers[2].reason.contains("5242880"), "{}", answers[2].reason);
    let asked = std::mem::take(&mut *house.roles.accept_photo.asked.lock().unwrap());
    assert_eq!(asked.len(), 2, "what is too large is not even offered");
    for request in &asked {
        assert_eq!((request.job_id.as_str(), request.photo.len()), ("job", 10));
        assert_eq!(request.external_image_id, format!("external-{}", request.name));
        assert_eq!(request.caller.as_ref().unwrap().principal, house.alice.key.id.to_string());
    }
    let metrics = house.metrics();
    assert!(metrics.contains(r#"operation="BulkIndex",outcome="ok"} 1"#), "{metrics}");
}

#[tokio::test]
async fn a_stream_that_is_wrong_is_refused() {
    let house = House::new().await;
    house.create("staff").await;
    for (messages, code) in [
        (vec![], Code::InvalidArgument),
        (vec![begins("staff", "")], Code::InvalidArgument),
        (vec![begins("other", "job")], Code::NotFound),
        (vec![photo("a", 1)], Code::InvalidArgument),
    ] {
        assert_eq!(run(&house, messages).await.unwrap_err(), code);
    }
    assert_eq!(
        run(&house, vec![begins("staff", "job")]).await.unwrap(),
        [],
        "a job may have nothing to bring"
    );
    house.roles.will_fail(Failure::new(ErrorCode::NotFound, "The collection id: staff does not exist"));
    let messages = vec![begins("staff", "job"), photo("a", 1)];
    assert_eq!(run(&house, messages).await.unwrap_err(), Code::NotFound, "a deleted collection ends the job");
    house.roles.will_fail(Failure::new(ErrorCode::InvalidParameter, "the name is none"));
    let answers = run(&house, vec![begins("staff", "job"), photo("a", 1)]).await.unwrap();
    assert_eq!((answers[0].outcome.as_str(), answers[0].reason.as_str()), ("REFUSED", "the name is none"));
}

/// A stream holds its room for as long as it is open, and no longer.
#[tokio::test]
async fn a_tenant_has_room_for_so_many_streams() {
    let bytes_in_flight_max = 30 * 1024 * 1024;
    let tenant_limits = TenantLimits { bytes_in_flight_max, ..TenantLimits::default() };
    let house = House::with(GatewayConfig { tenant_limits, ..GatewayConfig::default() }).await;
    house.create("staff").await;
    let open = stream::iter([begins("staff", "one")]).chain(stream::pending());
    let first = as_alice(&house).bulk_index(open).await.unwrap().into_inner();
    assert_eq!(run(&house, vec![begins("staff", "two")]).await.unwrap_err(), Code::ResourceExhausted);
    drop(first);
    // The session notices that nobody reads.
    for _ in 0..200 {
        if run(&house, vec![begins("staff", "two")]).await.is_ok() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the room is not given back");
}
