//! SearchFaces over AWS-JSON 1.1, signed as an SDK signs it, over a connection that is kept.

use std::time::UNIX_EPOCH;

use anyhow::Context;
use async_trait::async_trait;
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use vidimus_ports::{Clock, SystemClock};

use super::{Searcher, Target};

/// A connection.
pub struct JsonSearcher {
    target: Target,
    credentials: Credentials,
    connection: SendRequest<Full<Bytes>>,
}

impl JsonSearcher {
    /// Connects.
    ///
    /// # Errors
    /// Where nobody listens there.
    pub async fn connect(target: Target) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(&target.address).await.context("connect")?;
        stream.set_nodelay(true)?;
        let (connection, driving) = handshake(TokioIo::new(stream)).await.context("connect")?;
        tokio::spawn(driving);
        let (key, secret) = (&target.access_key_id, &target.secret_access_key);
        let credentials = Credentials::new(key, secret, None, None, "gallery");
        Ok(Self { target, credentials, connection })
    }

    fn request(&self, face_id: &str) -> anyhow::Result<Request<Full<Bytes>>> {
        let target = &self.target;
        let mut body = json!({
            "CollectionId": target.collection,
            "FaceId": face_id,
            "MaxFaces": target.faces_max,
        });
        if let Some(threshold) = target.threshold {
            body["FaceMatchThreshold"] = json!(threshold);
        }
        let body = serde_json::to_vec(&body)?;
        let headers = [
            ("host", target.address.as_str()),
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-target", "RekognitionService.SearchFaces"),
        ];
        let now = SystemClock.now().get();
        let identity = self.credentials.clone().into();
        let params = SigningParams::builder()
            .identity(&identity)
            .region(&target.region)
            .name("rekognition")
            .time(UNIX_EPOCH + std::time::Duration::from_millis(u64::try_from(now)?))
            .settings(SigningSettings::default())
            .build()?
            .into();
        let uri = format!("http://{}/", target.address);
        let signable = SignableRequest::new("POST", uri, headers.into_iter(), SignableBody::Bytes(&body))?;
        let (instructions, _) = sign(signable, &params)?.into_parts();
        let mut request = Request::post("/").header(header::CONTENT_LENGTH, body.len());
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let mut request = request.body(Full::new(Bytes::from(body)))?;
        instructions.apply_to_request_http1x(&mut request);
        Ok(request)
    }
}

#[async_trait]
impl Searcher for JsonSearcher {
    async fn search(&mut self, face_id: &str) -> anyhow::Result<usize> {
        let request = self.request(face_id)?;
        self.connection.ready().await.context("the connection ended")?;
        let answer = self.connection.send_request(request).await.context("ask")?;
        let status = answer.status();
        let body = answer.into_body().collect().await.context("read the answer")?.to_bytes();
        anyhow::ensure!(status == StatusCode::OK, "{status}: {}", String::from_utf8_lossy(&body));
        let answer = serde_json::from_slice::<Value>(&body).context("the answer is no JSON")?;
        let matches = answer["FaceMatches"].as_array().context("the answer has no FaceMatches")?;
        Ok(matches.len())
    }
}
