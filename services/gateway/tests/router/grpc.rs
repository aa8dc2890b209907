//! The gRPC door: the same operations, with a bearer.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use futures::TryStreamExt;
use http::Request;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;
use tower::util::MapRequest;
use vidimus_domain::{ErrorCode, FaceNumber, Failure, ImageId};
use vidimus_gateway::{GatewayConfig, Peer, TenantLimits};
use vidimus_proto::api;
use vidimus_proto::api::faces_client::FacesClient;
use vidimus_proto::internal::v1;

use crate::house::{Client, House};

pub type Service = MapRequest<Router, fn(Request<tonic::body::Body>) -> Request<Body>>;
pub type Faces = FacesClient<InterceptedService<Service, Bearer>>;

const LOOPBACK: Peer = Peer {
    address: SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 5),
    is_encrypted: false,
};

#[derive(Clone)]
pub struct Bearer {
    authorization: Option<String>,
    extra: Vec<(&'static str, &'static str)>,
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, Status> {
        if let Some(authorization) = &self.authorization {
            request.metadata_mut().insert("authorization", authorization.parse().unwrap());
        }
        for (name, value) in &self.extra {
            request.metadata_mut().insert(*name, value.parse().unwrap());
        }
        Ok(request)
    }
}

fn bearer(client: &Client) -> String {
    format!("Bearer {}:{}", client.key.id, client.key.secret.reveal())
}

fn from_loopback(request: Request<tonic::body::Body>) -> Request<Body> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(LOOPBACK);
    request
}

fn from_afar(request: Request<tonic::body::Body>) -> Request<Body> {
    let mut request = request.map(Body::new);
    let address = SocketAddr::from(([192, 0, 2, 7], 5));
    request.extensions_mut().insert(Peer { address, is_encrypted: false });
    request
}

fn faces_of(house: &House, bearer: Bearer, map: fn(Request<tonic::body::Body>) -> Request<Body>) -> Faces {
    FacesClient::with_interceptor(MapRequest::new(house.gateway.router(), map), bearer)
}

pub fn as_alice(house: &House) -> Faces {
    faces_of(house, Bearer { authorization: Some(bearer(&house.alice)), extra: Vec::new() }, from_loopback)
}

fn named(name: &str) -> api::DescribeCollectionRequest {
    api::DescribeCollectionRequest { collection_id: name.to_owned() }
}

fn reason(status: &Status) -> String {
    status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
}

#[tokio::test]
async fn an_operation_is_the_same_over_both_doors() {
    let house = House::new().await;
    let mut faces = as_alice(&house);
    let tags = [("team".to_owned(), "door".to_owned())].into();
    let request = api::CreateCollectionRequest { collection_id: "staff".to_owned(), tags };
    let made = faces.create_collection(request).await.unwrap().into_inner();
    assert_eq!((made.status_code, made.face_model_version.as_str()), (200, "1.0"));
    house.roles.count.will_answer(v1::CountFacesResponse { faces: 7, users: 2 });
    let described = faces.describe_collection(named("staff")).await.unwrap().into_inner();
    assert_eq!((described.face_count, described.user_count), (7, 2));
    assert!(described.collection_arn.ends_with(":collection/staff"));
    let by_json = house.ok("DescribeCollection", serde_json::json!({"CollectionId": "staff"})).await;
    assert_eq!(by_json["FaceCount"], 7);
    let listed = faces.list_collections(api::ListCollectionsRequest::default()).await.unwrap().into_inner();
    assert_eq!(listed.collection_ids, ["staff"]);
}

#[tokio::test]
async fn photos_come_as_bytes_and_options_as_members_or_metadata() {
    let house = House::new().await;
    house.create("staff").await;
    let mut faces = as_alice(&house);
    let image = Some(api::Image { bytes: Some(b"photo".as_slice().into()), s3_object: None });
    let request = api::IndexFacesRequest {
        collection_id: "staff".to_owned(),
        image: image.clone(),
        vidimus: Some(api::EnrolmentOptions { expires_at: Some(2_000_000_000.5) }),
        ..api::IndexFacesRequest::default()
    };
    faces.index_faces(request).await.unwrap();
    let asked = house.roles.index.was_asked();
    assert_eq!((asked.photo.as_ref(), asked.expires_at_ms), (b"photo".as_slice(), Some(2_000_000_000_500)));
    let extra = vec![("x-vidimus-target-fpir", "0.05")];
    let authorization = Some(bearer(&house.alice));
    let mut faces = faces_of(&house, Bearer { authorization, extra }, from_loopback);
    let request = api::SearchFacesByImageRequest {
        collection_id: "staff".to_owned(),
        image,
        ..api::SearchFacesByImageRequest::default()
    };
    faces.search_faces_by_image(request).await.unwrap();
    assert_eq!(house.roles.search_by_image.was_asked().target_fpir, Some(0.05));
}

#[tokio::test]
async fn only_whoever_has_the_secret_is_let_in_and_not_in_plaintext_from_afar() {
    let house = House::new().await;
    house.create("staff").await;
    let (id, secret) = (house.alice.key.id.to_string(), house.alice.key.secret.reveal().to_owned());
    for authorization in [
        None,
        Some("Basic x".to_owned()),
        Some(format!("Bearer {id}")),
        Some(format!("Bearer {id}:{secret}x")),
        Some(format!("Bearer VDMSNOBODY:{secret}")),
    ] {
        let bearer = Bearer { authorization: authorization.clone(), extra: Vec::new() };
        let refused = faces_of(&house, bearer, from_loopback).describe_collection(named("staff")).await;
        assert_eq!(refused.unwrap_err().code(), Code::Unauthenticated, "{authorization:?}");
    }
    let right = Bearer { authorization: Some(bearer(&house.alice)), extra: Vec::new() };
    let refused = faces_of(&house, right, from_afar).describe_collection(named("staff")).await.unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused).as_str()),
        (Code::PermissionDenied, "AccessDeniedException")
    );
    assert!(house.roles.count.was_not_asked());
    let other = Bearer { authorization: Some(bearer(&house.bob)), extra: Vec::new() };
    let refused = faces_of(&house, other, from_loopback).describe_collection(named("staff")).await;
    assert_eq!(refused.unwrap_err().code(), Code::NotFound, "I1");
}

#[tokio::test]
async fn errors_say_what_to_do() {
    let house = House::new().await;
    house.create("staff").await;
    let mut faces = as_alice(&house);
    let wrong = api::SearchFacesRequest {
        collection_id: String::new(),
        face_id: "x".to_owned(),
        max_faces: Some(0),
        ..api::SearchFacesRequest::default()
    };
    let refused = faces.search_faces(wrong).await.unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused).as_str()),
        (Code::InvalidArgument, "InvalidParameterException")
    );
    let details = refused.get_error_details();
    let broken = details.bad_request().unwrap().field_violations.iter();
    assert_eq!(
        broken.map(|v| v.field.as_str()).collect::<Vec<_>>(),
        ["collectionId", "collectionId", "faceId", "maxFaces"]
    );
    assert!(!details.request_info().unwrap().request_id.is_empty());
    house.roles.will_fail(Failure::unavailable("the index is catching up", Duration::from_secs(2)));
    let refused = faces.describe_collection(named("staff")).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert_eq!(refused.get_error_details().retry_info().unwrap().retry_delay, Some(Duration::from_secs(2)));
    house.roles.will_fail(Failure::new(ErrorCode::Internal, "/var/lib is damaged"));
    let refused = faces.describe_collection(named("staff")).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::Internal, "Internal server error"));
    let metrics = house.metrics();
    assert!(
        metrics.contains(r#"operation="SearchFaces",outcome="InvalidParameterException"} 1"#),
        "{metrics}"
    );
}

#[tokio::test]
async fn a_callers_deadline_is_kept() {
    let house = House::new().await;
    house.create("staff").await;
    *house.roles.gate.lock().unwrap() = Some(std::sync::Arc::new(tokio::sync::Notify::new()));
    let mut request = tonic::Request::new(named("staff"));
    request.set_timeout(Duration::from_millis(20));
    let refused = as_alice(&house).describe_collection(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn long_listings_and_photos_are_streams() {
    let house = House::new().await;
    house.create("staff").await;
    let mut faces = as_alice(&house);
    let id = ImageId::from_random([7; 16]).face(FaceNumber::FIRST).to_bytes().to_vec();
    let view = v1::FaceView { face_id: id.clone(), ..v1::FaceView::default() };
    house.roles.list.will_answer(v1::ListFacesResponse { faces: vec![view; 3], last_face_id: Vec::new() });
    let request = api::StreamFacesRequest { collection_id: "staff".to_owned(), user_id: None };
    let stream = faces.stream_faces(request).await.unwrap().into_inner();
    assert_eq!(stream.try_collect::<Vec<_>>().await.unwrap().len(), 3);
    let wrong = api::StreamFacesRequest { collection_id: "a b".to_owned(), user_id: Some("c d".to_owned()) };
    let refused = faces.stream_faces(wrong).await.unwrap_err();
    let broken = refused.get_details_bad_request().unwrap().field_violations;
    assert_eq!(broken.len(), 2, "both are told, along the table of ListFaces: {broken:?}");
    let wrong = api::StreamUsersRequest { collection_id: "a b".to_owned() };
    let refused = faces.stream_users(wrong).await.unwrap_err();
    assert_eq!(refused.get_details_bad_request().unwrap().field_violations.len(), 1);
    let face_id = vidimus_domain::FaceId::from_bytes(&id).unwrap().to_string();
    let request = api::GetPhotoRequest { collection_id: "staff".to_owned(), face_id };
    let refused = faces.get_photo(request.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "this key may not");
    let key = house.catalog.create_key(&house.alice.tenant, "photos", true).await.unwrap();
    let authorization = Some(bearer(&Client { key, ..house.alice.clone() }));
    let mut faces = faces_of(&house, Bearer { authorization, extra: Vec::new() }, from_loopback);
    house.roles.get_photo.will_answer(v1::GetPhotoResponse { photo: vec![9; 600_000].into() });
    let pieces = faces.get_photo(request).await.unwrap().into_inner().try_collect::<Vec<_>>().await.unwrap();
    assert_eq!(pieces.iter().map(|piece| piece.bytes.len()).sum::<usize>(), 600_000);
    assert!(pieces.len() > 1);
}

#[tokio::test]
async fn a_tenants_rate_is_its_own() {
    let tenant_limits = TenantLimits {
        searches_per_second: std::num::NonZeroU32::new(2).unwrap(),
        ..TenantLimits::default()
    };
    let house = House::with(GatewayConfig { tenant_limits, ..GatewayConfig::default() }).await;
    house.create("staff").await;
    let request = api::SearchFacesRequest {
        collection_id: "staff".to_owned(),
        face_id: "0123abcd-0123-4123-8123-0123456789ab".to_owned(),
        ..api::SearchFacesRequest::default()
    };
    let mut faces = as_alice(&house);
    for _ in 0..2 {
        faces.search_faces(request.clone()).await.unwrap();
    }
    let refused = faces.search_faces(request.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(reason(&refused), "ProvisionedThroughputExceededException");
    assert!(refused.get_error_details().retry_info().is_some());
    let by_json = serde_json::json!({"CollectionId": "staff", "FaceId": request.face_id});
    house.refuses("SearchFaces", by_json.clone(), ("ProvisionedThroughputExceededException", "Rate")).await;
    let other = house.call(&house.bob, "SearchFaces", by_json).await;
    assert_eq!(other.error().0, "ResourceNotFoundException", "the other tenant's rate is untouched");
}

#[tokio::test]
async fn health_follows_readiness_and_lets_go_whoever_watches_it_at_the_end() {
    let house = House::new().await;
    let (known, is_ready) = watch::channel(false);
    let ending = CancellationToken::new();
    let (gateway, stop) = (house.gateway.clone(), ending.clone());
    let telling = tokio::spawn(async move { gateway.tell_health(is_ready, stop.cancelled()).await });
    tokio::task::yield_now().await;
    let router: Service = MapRequest::new(house.gateway.router(), from_afar);
    let mut health = HealthClient::new(router);
    let of = |service: &str| HealthCheckRequest { service: service.to_owned() };
    let mut watched = health.watch(of("vidimus.v1.Faces")).await.unwrap().into_inner();
    let whole = health.check(of("")).await.unwrap().into_inner();
    assert_eq!(whole.status(), ServingStatus::NotServing);
    assert_eq!(watched.try_next().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    known.send(true).unwrap();
    assert_eq!(watched.try_next().await.unwrap().unwrap().status(), ServingStatus::Serving);
    assert_eq!(health.check(of("")).await.unwrap().into_inner().status(), ServingStatus::Serving);
    ending.cancel();
    telling.await.unwrap();
    assert_eq!(watched.try_next().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    assert_eq!(watched.try_next().await.unwrap(), None);
}
