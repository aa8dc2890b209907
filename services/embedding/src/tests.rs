use bytes::Bytes;
use prometheus_client::encoding::text::encode;
use vidimus_domain::face::DetectedFace;
use vidimus_domain::geometry::{BoundingBox, Landmarks};
use vidimus_domain::{FaceModelName, Template};
use vidimus_ports::{PortError, PortErrorKind};
use vidimus_runtime::errors::failure_from_status;

use super::*;

/// Encodes photos whose text says what is to come of them.
struct Fake(FaceModelName);

#[async_trait]
impl FaceEncoder for Fake {
    fn face_model(&self) -> &FaceModelName {
        &self.0
    }

    fn dimension(&self) -> usize {
        2
    }

    async fn encode(&self, photo: Bytes) -> Result<EncodedPhoto, EncoderError> {
        let (width_px, height_px) = (20, 300);
        match photo.as_ref() {
            b"text" => Err(EncoderError::NotAPhoto("neither a JPEG nor a PNG".to_owned())),
            b"huge" => Err(EncoderError::TooManyPixels { width_px, height_px }),
            b"small" => Err(EncoderError::TooSmall { width_px, height_px }),
            b"busy" => Err(EncoderError::Busy),
            b"broken" => {
                Err(PortError::new(PortErrorKind::Internal, "encode photo").because("secret").into())
            }
            b"never" => std::future::pending().await,
            faces => Ok(EncodedPhoto { faces: vec![face(); faces.len()], width_px, height_px }),
        }
    }

    async fn embed_at(
        &self,
        photo: Bytes,
        landmarks: Vec<Landmarks>,
    ) -> Result<Vec<Option<Template>>, EncoderError> {
        self.encode(photo).await?;
        let is_aligned = |landmarks: &Landmarks| *landmarks != Landmarks::default();
        Ok(landmarks.iter().map(|landmarks| is_aligned(landmarks).then(|| face().template)).collect())
    }
}

fn face() -> DetectedFace {
    DetectedFace {
        bounding_box: BoundingBox::default(),
        landmarks: Landmarks::default(),
        confidence: 0.9,
        pose: None,
        quality: None,
        template: Template::normalised(vec![3.0, 4.0]).unwrap(),
    }
}

fn role(registry: &mut Registry) -> EmbeddingRole {
    let encoder = Arc::new(Fake("model".parse().unwrap()));
    EmbeddingRole::new(
        EmbeddingDeps { encoders: Encoders::new(vec![encoder]), photos_at_once: 1, photos_waiting_max: 1 },
        registry,
    )
}

fn request(photo: &'static str, faces_max: u32) -> Request<v1::EmbedRequest> {
    let photo = Bytes::from_static(photo.as_bytes());
    Request::new(v1::EmbedRequest { photo, face_model: "model".to_owned(), faces_max, tenant: String::new() })
}

#[tokio::test]
async fn faces_past_the_limit_have_no_template() {
    let role = role(&mut Registry::default());
    for (faces_max, expected) in [(0, [2, 2, 2]), (1, [2, 0, 0]), (9, [2, 2, 2])] {
        let answer = role.embed(request("123", faces_max)).await.unwrap().into_inner();
        let lengths: Vec<usize> = answer.faces.iter().map(|face| face.template.len()).collect();
        assert_eq!(lengths, expected);
        assert_eq!((answer.width_px, answer.height_px), (20, 300));
    }
}

#[tokio::test]
async fn every_error_says_what_to_do() {
    let role = role(&mut Registry::default());
    for (photo, code, wait) in [
        ("text", ErrorCode::InvalidImageFormat, None),
        ("huge", ErrorCode::ImageTooLarge, None),
        ("small", ErrorCode::InvalidParameter, None),
        ("busy", ErrorCode::Throttled, Some(BUSY_RETRY_AFTER)),
        ("broken", ErrorCode::Internal, None),
    ] {
        let failure = failure_from_status(&role.embed(request(photo, 0)).await.unwrap_err());
        assert_eq!((failure.code, failure.retry_after), (code, wait), "{photo}");
        assert!(!failure.message.contains("secret"));
    }
}

#[tokio::test]
async fn another_model_is_refused() {
    let role = role(&mut Registry::default());
    let mut other = request("1", 0);
    other.get_mut().face_model = "other".to_owned();
    let failure = failure_from_status(&role.embed(other).await.unwrap_err());
    assert_eq!(failure.code, ErrorCode::Unavailable, "another process may run it");
}

#[tokio::test]
async fn faces_that_were_found_before_are_embedded_where_they_are() {
    let role = role(&mut Registry::default());
    let at = |x: f32| v1::FaceLandmarks { points: vec![v1::Point { x, y: 0.5 }; 5] };
    let ask = |faces| v1::EmbedAtRequest {
        photo: Bytes::from_static(b"1"),
        face_model: "model".to_owned(),
        faces,
        tenant: String::new(),
    };
    let answer = role.embed_at(Request::new(ask(vec![
        at(0.5),
        v1::FaceLandmarks { points: vec![v1::Point::default(); 5] },
    ])));
    let lengths: Vec<_> =
        answer.await.unwrap().into_inner().faces.iter().map(|face| face.template.len()).collect();
    assert_eq!(lengths, [2, 0], "one cannot be aligned");
    let four = v1::FaceLandmarks { points: vec![v1::Point::default(); 4] };
    let refused = failure_from_status(&role.embed_at(Request::new(ask(vec![four]))).await.unwrap_err());
    assert_eq!(refused.code, ErrorCode::InvalidParameter);
}

#[tokio::test]
async fn every_call_is_counted_once() {
    let mut registry = Registry::default();
    let role = role(&mut registry);
    for photo in ["1", "22", "", "busy", "text"] {
        let _ = role.embed(request(photo, 0)).await;
    }
    let mut waiting = role.embed(request("never", 0));
    assert!(futures::poll!(&mut waiting).is_pending());
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    assert!(text.contains("vidimus_photos_in_flight 1\n"), "{text}");
    drop(waiting);
    text.clear();
    encode(&mut text, &registry).unwrap();
    for line in [
        "vidimus_photos_embedded_total{outcome=\"OK\"} 2",
        "vidimus_photos_embedded_total{outcome=\"NO_FACE\"} 1",
        "vidimus_photos_embedded_total{outcome=\"THROTTLED\"} 1",
        "vidimus_photos_embedded_total{outcome=\"INVALID_IMAGE_FORMAT\"} 1",
        "vidimus_photos_embedded_total{outcome=\"CANCELLED\"} 1",
        "vidimus_faces_embedded_total 3",
        "vidimus_photos_in_flight 0",
        "vidimus_photo_embedding_seconds_count 6",
    ] {
        assert!(text.contains(&format!("{line}\n")), "{line} is not in\n{text}");
    }
}
