//! Clients: enrol, delete, enrol again, and retry.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use vidimus_domain::face::DetectedFace;
use vidimus_domain::geometry::{BoundingBox, Point};
use vidimus_domain::ids::ImageSource;
use vidimus_domain::record::Origin;
use vidimus_domain::{FaceId, FaceNumber, ImageId, RequestId, Template, UnixMillis};

use crate::administration::set_rules;
use crate::bulk;
use crate::executor::{Kind, Lost, Process};
use crate::ingestion::{EnrolmentRequest, delete_faces, index_faces};
use crate::random::{Random, hours, millis, minutes};
use crate::reply::Reply;
use crate::searches;
use crate::world::World;

const PHOTOS: u64 = 2;
const FACES_PER_PHOTO: u64 = 3;
/// The longest that a client sends a request again: far less than the day for which it is remembered.
const RETRIES_FOR: Duration = minutes(90);

/// A request that a client may send again.
#[derive(Clone)]
pub struct Sent {
    pub request: Rc<EnrolmentRequest>,
    pub issued_at: UnixMillis,
}

/// Does `operations` things, one after the other, with pauses.
pub async fn run(process: Process, operations: u64) {
    let mut sent = Vec::new();
    for _ in 0..operations {
        let pause = process.with(|world| pause(&mut world.random));
        process.sleep(pause).await;
        let searches = process.with(|world| if world.moves_are_there { world.random.below(4) } else { 0 });
        for _ in 0..searches {
            searches::search(&process);
        }
        match process.with(|world| world.random.below(11)) {
            1..=3 | 8 if process.with(|world| world.bulk_is_there) => bulk::run_job(&process).await,
            0..=3 => {
                let new = process.with(draw_enrolment);
                sent.push(new.clone());
                enrol(&process, new).await;
            }
            4..=7 => delete(&process).await,
            10 => set_rules(&process).await,
            _ => {
                if let Some(again) = sent.last().cloned() {
                    process.count("a client sent an answered request again");
                    enrol(&process, again).await;
                }
            }
        }
    }
}

pub fn pause(random: &mut Random) -> Duration {
    match random.below(20) {
        0..=9 => random.between(millis(0), millis(500)),
        10..=14 => random.between(millis(0), minutes(40)),
        15..=17 => random.between(hours(1), hours(12)),
        _ => random.between(hours(20), hours(60)),
    }
}

pub fn draw_enrolment(world: &mut World) -> Sent {
    let number = world.random.next();
    let photo = world.random.below(PHOTOS);
    let id = format!("request-{number:016x}").parse::<RequestId>().expect("it is a request id");
    let external = world.random.chance(600).then(|| "somebody".parse().expect("it is a name"));
    let source = external.as_ref().map_or(ImageSource::Retry(id.as_str()), ImageSource::External);
    let image = ImageId::derived(&[7; 32], &world.part, &[photo as u8; 32], source);
    let face_model = "sface".parse().expect("it is a face model");
    let origin = Origin { part: world.part, image, face_model, external_image_id: external };
    let faces =
        (0..=world.random.below(FACES_PER_PHOTO)).map(|face| detected(photo, face, &mut world.random));
    let faces = faces.collect();
    let expires_after = match world.random.below(10) {
        0 => Some(world.random.between(millis(1), minutes(5))),
        1..=2 => Some(world.random.between(minutes(5), hours(40))),
        _ => None,
    };
    let request = Rc::new(EnrolmentRequest { number, id, origin, faces, expires_after });
    Sent { request, issued_at: world.now }
}

/// A face of a photo. The detector finds it at about the same place each time.
pub fn detected(photo: u64, face: u64, random: &mut Random) -> DetectedFace {
    let jitter = random.below(20) as f32 / 1000.0;
    let values = vec![1.0, photo as f32, face as f32, 0.5];
    DetectedFace {
        bounding_box: BoundingBox {
            left: 0.1 + 0.3 * face as f32 + jitter,
            top: 0.1,
            width: 0.2,
            height: 0.25 - 0.01 * face as f32,
        },
        landmarks: [Point::default(); 5],
        confidence: 0.9,
        pose: None,
        quality: None,
        template: Template::normalised(values).expect("it has a direction"),
    }
}

/// Sends the request until it is answered, or for as long as it may.
pub async fn enrol(process: &Process, sent: Sent) {
    for _ in 0..5 {
        if process.now().since(sent.issued_at) > RETRIES_FOR || attempt(process, &sent).await.is_ok() {
            return;
        }
        process.count("a client retried an enrolment");
        wait_a_little(process).await;
    }
}

async fn attempt(process: &Process, sent: &Sent) -> Result<(), Lost> {
    let (reply, sent) = (Reply::default(), sent.clone());
    let answered = reply.clone();
    process.spawn(Kind::Server, "ingestion", |server| async move {
        let faces = index_faces(&server, &sent.request).await;
        if let Ok(faces) = &faces {
            server.with(|world| {
                world.note("ingestion: answers".to_owned());
                world.audit.enrolment_answered(sent.request.number, sent.issued_at, faces);
                world.known_faces.extend(faces);
            });
        }
        answered.give(faces.map(drop));
    });
    let wait = process.with(|world| patience(&mut world.random));
    reply.wait(process, wait).await
}

pub fn patience(random: &mut Random) -> Duration {
    match random.below(10) {
        0..=2 => random.between(millis(1), millis(200)),
        3..=8 => random.between(millis(200), minutes(1)),
        _ => random.between(minutes(1), hours(30)),
    }
}

pub async fn wait_a_little(process: &Process) {
    let pause = process.with(|world| world.random.between(millis(0), millis(3_000)));
    process.sleep(pause).await;
}

/// Deletes one or two faces that somebody enrolled, most often one of the last.
pub async fn delete(process: &Process) {
    let mut images = BTreeMap::<ImageId, Vec<FaceNumber>>::new();
    for face in process.with(draw_faces) {
        if let Some(number) = face.number() {
            images.entry(face.image()).or_default().push(number);
        }
    }
    for (image, numbers) in images {
        for _ in 0..4 {
            if attempt_deletion(process, image, numbers.clone()).await.is_ok() {
                break;
            }
            process.count("a client retried a deletion");
            wait_a_little(process).await;
        }
    }
}

fn draw_faces(world: &mut World) -> Vec<FaceId> {
    let from = world.known_faces.len().saturating_sub(4);
    let mut faces = Vec::new();
    for _ in 0..=world.random.below(2) {
        let face = if world.random.chance(700) {
            world.random.pick(&world.known_faces[from..])
        } else {
            world.random.pick(&world.known_faces)
        };
        faces.extend(face.filter(|face| !faces.contains(face)));
    }
    for face in &faces {
        world.audit.deletion_asked(*face);
    }
    faces
}

async fn attempt_deletion(process: &Process, image: ImageId, numbers: Vec<FaceNumber>) -> Result<(), Lost> {
    let reply = Reply::default();
    let answered = reply.clone();
    process.spawn(Kind::Server, "deletion", |server| async move {
        let deleted = delete_faces(&server, image, &numbers).await;
        for face in deleted.iter().flatten() {
            server.with(|world| {
                let now = world.now;
                world.note("deletion: answers".to_owned());
                world.audit.deletion_answered(*face, now);
            });
        }
        answered.give(deleted.map(drop));
    });
    let wait = process.with(|world| patience(&mut world.random));
    reply.wait(process, wait).await
}
