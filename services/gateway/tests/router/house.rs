//! A gateway with fake roles, a catalog in memory, two tenants, and clients that sign.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tower::ServiceExt;
use vidimus_domain::catalog::AccessKey;
use vidimus_domain::score::Calibration;
use vidimus_domain::{TenantName, UnixMillis};
use vidimus_gateway::{Gateway, GatewayConfig, GatewayDeps};
use vidimus_ports::memory::{MemoryBlobStore, MemoryEventLog, MemoryPhotoSource};
use vidimus_ports::{Clock, ManualClock, Random, SeededRandom};
use vidimus_runtime::catalog::{Catalog, CatalogDeps};
use vidimus_runtime::models::{FaceModels, KnownModel};

use crate::fakes::Roles;

pub struct House {
    pub gateway: Gateway,
    pub roles: Arc<Roles>,
    pub catalog: Arc<Catalog>,
    pub photos: Arc<MemoryPhotoSource>,
    pub clock: Arc<ManualClock>,
    pub registry: Registry,
    pub alice: Client,
    pub bob: Client,
}

/// A tenant with one key.
#[derive(Clone)]
pub struct Client {
    pub tenant: TenantName,
    pub account: String,
    pub key: AccessKey,
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub json: Value,
}

impl Reply {
    pub async fn of(response: Response) -> Self {
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let json = serde_json::from_slice(&bytes).unwrap();
        Self { status: head.status.as_u16(), headers: head.headers, json }
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The answer of a request that succeeded.
    pub fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{}", self.json);
        self.json
    }

    /// `__type` and message of a request that failed.
    pub fn error(&self) -> (&str, &str) {
        assert_ne!(self.status, 200, "{}", self.json);
        (self.json["__type"].as_str().unwrap(), self.json["Message"].as_str().unwrap())
    }
}

impl House {
    pub async fn new() -> Self {
        Self::with(GatewayConfig::default()).await
    }

    pub async fn with(config: GatewayConfig) -> Self {
        let clock = Arc::new(ManualClock::new(UnixMillis::new(1_795_377_900_000)));
        let random = Arc::new(SeededRandom::new(1));
        let blobs = Arc::new(MemoryBlobStore::new(clock.clone()));
        let deps = CatalogDeps { blobs, clock: clock.clone(), random: random.clone() };
        let catalog = Arc::new(Catalog::new(deps, None));
        let roles = Arc::new(Roles::default());
        let calibration =
            Calibration::new(vec![(0.3, 1e-2), (0.5, 1e-5)], vec![(0.0, 0.0), (1.0, 100.0)]).unwrap();
        let face_models = FaceModels {
            first: KnownModel {
                face_model: "sface-2021dec".parse().unwrap(),
                face_model_version: "1.0".to_owned(),
                dimension: 128,
                calibration,
            },
            others: Vec::new(),
        };
        let photos = Arc::new(MemoryPhotoSource::default());
        let deps = GatewayDeps {
            ingestion: roles.clone(),
            query: roles.clone(),
            catalog: catalog.clone(),
            face_models: Arc::new(face_models),
            log: Arc::new(MemoryEventLog::new(random.nonce())),
            photos: photos.clone(),
            clock: clock.clone(),
            random,
            token_key: [3; 32],
        };
        let mut registry = Registry::default();
        let gateway = Gateway::new(config, deps, &mut registry);
        let (alice, bob) = (tenant(&catalog, "alice").await, tenant(&catalog, "bob").await);
        Self { gateway, roles, catalog, photos, clock, registry, alice, bob }
    }

    /// Sends a request as it is.
    pub async fn send(&self, request: Request<Body>) -> Reply {
        Reply::of(self.gateway.router().oneshot(request).await.unwrap()).await
    }

    /// Calls `operation` as `client`, signed.
    pub async fn call(&self, client: &Client, operation: &str, input: Value) -> Reply {
        self.send(self.signed(client, operation, input.to_string().into_bytes())).await
    }

    /// Calls `operation` as alice and expects success.
    pub async fn ok(&self, operation: &str, input: Value) -> Value {
        self.call(&self.alice, operation, input).await.ok()
    }

    /// Calls `operation` as alice and expects an error of this type, whose message has `message`.
    pub async fn refuses(&self, operation: &str, input: Value, (error_type, message): (&str, &str)) {
        let shown = input.to_string().chars().take(200).collect::<String>();
        let reply = self.call(&self.alice, operation, input).await;
        let (found_type, found_message) = reply.error();
        assert_eq!(found_type, error_type, "{operation} {shown}: {found_message}");
        assert!(found_message.contains(message), "{operation} {shown}: {found_message}");
        let status = if error_type == "InternalServerError" { 500 } else { 400 };
        assert_eq!(reply.status, status);
        assert!(!reply.header("x-amzn-requestid").is_empty());
    }

    pub async fn create(&self, name: &str) {
        self.ok("CreateCollection", json!({ "CollectionId": name })).await;
    }

    /// A request that `client` signed now.
    pub fn signed(&self, client: &Client, operation: &str, body: Vec<u8>) -> Request<Body> {
        let now = UNIX_EPOCH + Duration::from_millis(self.clock.now().get() as u64);
        client.signed(now, operation, body)
    }

    pub fn metrics(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text
    }
}

async fn tenant(catalog: &Catalog, name: &str) -> Client {
    let name = name.parse::<TenantName>().unwrap();
    let account = catalog.create_tenant(name.clone()).await.unwrap().account;
    let key = catalog.create_key(&name, "test", false).await.unwrap();
    Client { tenant: name, account, key }
}

impl Client {
    /// A request as an SDK would sign it.
    pub fn signed(&self, now: SystemTime, operation: &str, body: Vec<u8>) -> Request<Body> {
        let target = format!("RekognitionService.{operation}");
        let unsigned = [
            ("host", "faces.test:7600"),
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-target", &target),
        ];
        let identity =
            Credentials::new(self.key.id.as_str(), self.key.secret.reveal(), None, None, "test").into();
        let params = SigningParams::builder()
            .identity(&identity)
            .region("eu-west-1")
            .name("rekognition")
            .time(now)
            .settings(SigningSettings::default())
            .build()
            .unwrap()
            .into();
        let signable = SignableRequest::new(
            "POST",
            "http://faces.test:7600/",
            unsigned.into_iter(),
            SignableBody::Bytes(&body),
        );
        let (instructions, _) = sign(signable.unwrap(), &params).unwrap().into_parts();
        let mut request = Request::post("/");
        for (name, value) in unsigned {
            request = request.header(name, value);
        }
        let mut request = request.body(()).unwrap();
        instructions.apply_to_request_http1x(&mut request);
        request.map(|()| Body::from(body))
    }
}
