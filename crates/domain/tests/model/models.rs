//! Turning the collection to another face model: templates of both while it moves.

use vidimus_domain::face::DetectedFace;
use vidimus_domain::placements::{Move, Placements};
use vidimus_domain::record::{MadeTemplates, Record, State, WantedModels, Write, with_models};
use vidimus_domain::{FaceModelName, ImageId, Template};

use crate::executor::{Lost, Process};
use crate::random::{millis, minutes};
use crate::records::Written;
use crate::rules::Rule;
use crate::world::Cause;

/// The face models that there are. Their templates have dimensions of their own, so that one in the wrong place is found out.
const MODELS: [&str; 3] = ["sface", "m1", "m2"];
const DIMENSION_MIN: usize = 4;

pub fn face_model(number: usize) -> FaceModelName {
    MODELS[number % MODELS.len()].parse().expect("it is a face model")
}

/// Components of a model's templates.
pub fn dimension(model: &FaceModelName) -> usize {
    DIMENSION_MIN + MODELS.iter().position(|name| *name == model.as_str()).expect("it is one of them")
}

/// The face's template by that model.
fn template(detected: &DetectedFace, model: &FaceModelName) -> Template {
    let bounds = detected.bounding_box;
    let mut values = vec![1.0, bounds.left, bounds.height];
    values.resize(dimension(model), 0.5);
    Template::normalised(values).expect("it has a direction")
}

/// The faces as a pipeline of that model finds them.
pub fn by_model(faces: &[DetectedFace], model: &FaceModelName) -> Vec<DetectedFace> {
    let by = |face: &DetectedFace| DetectedFace { template: template(face, model), ..face.clone() };
    faces.iter().map(by).collect()
}

/// Where the collection turns to next: now and then to another model.
pub fn draw_model(process: &Process, now: &Placements) -> FaceModelName {
    process.with(|world| match world.models_turn && world.random.chance(700) {
        true => face_model(world.random.below(MODELS.len() as u64) as usize),
        false => now.face_model.clone(),
    })
}

/// Sees to it that the faces of the record have a template of every model that is wanted. Returns whether that was to be done; where
/// there is no photo to make one of, it stays undone.
pub async fn complete(process: &Process, image: ImageId) -> Result<bool, Lost> {
    let mut any = false;
    loop {
        let read = process.read_record(image).await?;
        let Some(before) = read.record.as_ref().filter(|record| record.state == State::Enrolled) else {
            return Ok(any);
        };
        // Asked after the record was read, so that what the record has is no newer.
        let wanted = WantedModels::of(&process.read_placements().await?.placements);
        if before.has_models(&wanted) {
            return Ok(any);
        }
        let lacking = wanted.all().find(|model| before.lacking(model).next().is_some());
        if lacking.is_some() && before.photo.is_none() {
            process.count("a photo was gone");
            return Ok(any);
        }
        let pause = process.with(|world| world.random.between(millis(1), minutes(1)));
        process.sleep(pause).await;
        let made = lacking.map(|model| made(before, model));
        let write = Write { now: process.now(), nonce: process.nonce(), cutoffs: process.cutoffs() };
        let Some(after) = with_models(before, &wanted, made.as_ref(), write) else { return Ok(any) };
        if process.write_record(&after, &read, Cause::Embedding).await? == Written::Yes {
            process.count("a record was completed");
            any = true;
        }
    }
}

fn made(record: &Record, model: &FaceModelName) -> MadeTemplates {
    let templates = record.lacking(model).map(|(face, live)| (face.number, template(&live.detected, model)));
    MadeTemplates { face_model: model.clone(), templates: templates.collect() }
}

/// Whether a record's faces lack a template that the move needs; and whether none can be made of it.
pub fn lacks(process: &Process, record: Option<&Record>, moving: &Move, own: &FaceModelName) -> Lacks {
    let Some(record) = record.filter(|record| record.state == State::Enrolled) else { return Lacks::Nothing };
    let is_turning = moving.face_model != *own;
    let (other, made_for) =
        (is_turning.then(|| moving.face_model.clone()), is_turning.then_some(moving.began_at));
    let wanted = WantedModels { own: own.clone(), other, made_for };
    if record.has_models(&wanted) || !process.keeps(Rule::MovesCompareModels) {
        return Lacks::Nothing;
    }
    let lacking = wanted.all().any(|model| record.lacking(model).next().is_some());
    if lacking && record.photo.is_none() { Lacks::Photo } else { Lacks::Template }
}

/// What keeps a record from being projected into a move's target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lacks {
    Nothing,
    /// It can be made of the photo.
    Template,
    /// There is no photo to make it of.
    Photo,
}

/// Takes the templates of the model that is being left out of the records.
pub async fn settle(process: &Process, moving: &Move) -> Result<(), Lost> {
    for image in process.effect("lists records".to_owned(), |world| world.blobs.images()).await? {
        loop {
            let read = process.read_record(image).await?;
            let Some(before) = &read.record else { break };
            let now = process.read_placements().await?.placements;
            if now.moving.as_ref() != Some(moving) {
                return Ok(());
            }
            let only = WantedModels { own: now.face_model, other: None, made_for: None };
            let write = Write { now: process.now(), nonce: process.nonce(), cutoffs: process.cutoffs() };
            let Some(after) = with_models(before, &only, None, write) else { break };
            if process.write_record(&after, &read, Cause::Embedding).await? == Written::Yes {
                process.count("an old model's templates went");
                break;
            }
        }
    }
    Ok(())
}
