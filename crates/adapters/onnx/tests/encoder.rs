//! The encoder's promises to its callers: it sheds, survives, and does not work for callers that have gone.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking and says what it measured"
)]

mod common;

use std::fs;
use std::num::NonZeroUsize;

use bytes::Bytes;
use futures::future::join_all;
use vidimus_onnx::{EncoderConfig, OnnxEncoder};
use vidimus_ports::{EncoderError, FaceEncoder};

fn encoder(workers: usize, queue_photos_max: usize) -> OnnxEncoder {
    let (runtime, model) = common::loaded();
    let config = EncoderConfig {
        workers: NonZeroUsize::new(workers).unwrap(),
        queue_photos_max: NonZeroUsize::new(queue_photos_max).unwrap(),
    };
    OnnxEncoder::new(&config, &runtime, &model).unwrap()
}

fn photo(name: &str) -> Bytes {
    fs::read(common::asset("photos").join(name)).unwrap().into()
}

#[tokio::test]
async fn one_person_matches_and_two_do_not() {
    let encoder = encoder(2, 8);
    let names = ["obama.jpg", "obama2.jpg", "biden.jpg"];
    let encoded = join_all(names.map(|name| encoder.encode(photo(name)))).await;
    let [obama, again, biden] = encoded.try_into().unwrap();
    let template =
        |encoded: Result<vidimus_ports::EncodedPhoto, _>| encoded.unwrap().faces[0].template.clone();
    let (obama, again, biden) = (template(obama), template(again), template(biden));
    assert!(obama.cosine(&again) > 0.554, "mated: {}", obama.cosine(&again));
    assert!(obama.cosine(&biden) < 0.363, "non-mated: {}", obama.cosine(&biden));
}

#[tokio::test]
async fn a_full_queue_is_busy_and_what_was_taken_is_answered() {
    let encoder = encoder(1, 2);
    let portrait = photo("obama.jpg");
    let answers = join_all((0..12).map(|_| encoder.encode(portrait.clone()))).await;
    let busy = answers.iter().filter(|answer| matches!(answer, Err(EncoderError::Busy))).count();
    let done = answers.iter().filter(|answer| answer.as_ref().is_ok_and(|it| it.faces.len() == 1)).count();
    assert_eq!(busy + done, 12);
    assert!(busy >= 8 && done >= 2, "{busy} busy, {done} done");
}

#[tokio::test]
async fn bad_photos_fail_alone() {
    let encoder = encoder(1, 64);
    let portrait = photo("obama.jpg");
    let mut photos =
        vec![Bytes::new(), Bytes::from_static(b"no image"), portrait.slice(..portrait.len() / 2)];
    photos.push(portrait);
    let answers = join_all(photos.into_iter().map(|photo| encoder.encode(photo))).await;
    for bad in &answers[..3] {
        assert!(matches!(bad, Err(EncoderError::NotAPhoto(_))), "{bad:?}");
    }
    assert_eq!(answers[3].as_ref().unwrap().faces.len(), 1);
}

#[tokio::test]
async fn a_photo_without_a_face_has_none() {
    let blank = image::RgbImage::from_pixel(300, 200, image::Rgb([90, 120, 90]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    blank.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    let encoded = encoder(1, 1).encode(bytes.into_inner().into()).await.unwrap();
    assert_eq!((encoded.faces.len(), encoded.width_px, encoded.height_px), (0, 300, 200));
}

/// Calls that are dropped while they wait make room: a full queue of them refuses nobody.
#[tokio::test]
async fn dropped_calls_make_room() {
    let encoder = encoder(1, 4);
    let portrait = photo("obama.jpg");
    let mut waiting: Vec<_> = (0..16).map(|_| Box::pin(encoder.encode(portrait.clone()))).collect();
    for call in &mut waiting {
        let _ = futures::poll!(call);
    }
    drop(waiting);
    assert_eq!(encoder.encode(portrait).await.unwrap().faces.len(), 1);
}

/// Of calls that are dropped before their turn no model sees anything: one photo with one face runs the detector once and the
/// embedder once, whatever waited with it.
#[tokio::test]
async fn dropped_calls_cost_nothing() {
    let encoder = encoder(1, 64);
    let portrait = photo("obama.jpg");
    let mut kept = Box::pin(encoder.encode(portrait.clone()));
    assert!(futures::poll!(&mut kept).is_pending());
    let mut dropped: Vec<_> = (0..40).map(|_| Box::pin(encoder.encode(portrait.clone()))).collect();
    for call in &mut dropped {
        assert!(futures::poll!(call).is_pending());
    }
    drop(dropped);
    assert_eq!(kept.await.unwrap().faces.len(), 1);
    // Whatever waited would have had its turn before this one.
    assert_eq!(encoder.encode(portrait).await.unwrap().faces.len(), 1);
    assert_eq!(encoder.model_runs(), 4);
}
