//! Templates of two face models.

use vidimus_domain::placements::{Move, MoveStage, Placements};
use vidimus_domain::point::PointBody;
use vidimus_domain::record::{
    Enrolled, MadeTemplates, Origin, Record, Refusal, WantedModels, enrol, erase, projection, with_models,
};
use vidimus_domain::{FaceModelName, Template, UnixMillis};

use super::{HOUR, MILLISECOND, T0, at, enrolled, enrolment};
use crate::fixtures::{model, number, origin};

fn newer() -> FaceModelName {
    "newer".parse().expect("it is a face model")
}

/// What a move that began then wants while its target is filled.
fn filling(began_at: UnixMillis) -> WantedModels {
    WantedModels { own: model(), other: Some(newer()), made_for: Some(began_at) }
}

/// What it wants when reads have switched.
fn leaving() -> WantedModels {
    WantedModels { own: newer(), other: Some(model()), made_for: None }
}

fn only(own: FaceModelName) -> WantedModels {
    WantedModels { own, other: None, made_for: None }
}

fn made(record: &Record) -> MadeTemplates {
    let template = Template::normalised(vec![1.0, 2.0, 2.0]).expect("it has a direction");
    let live = record.faces.iter().filter(|face| face.live().is_some());
    MadeTemplates {
        face_model: newer(),
        templates: live.map(|face| (face.number, template.clone())).collect(),
    }
}

/// A record whose faces have templates of both.
fn turning() -> Record {
    let before = enrolled();
    with_models(&before, &filling(T0), Some(&made(&before)), at(T0.plus(MILLISECOND))).expect("it changes")
}

/// Dimensions of the templates that the record has for an index collection of that model, and faces that lack one.
fn projected(record: &Record, model: &FaceModelName) -> (Vec<usize>, usize) {
    let projection = projection(record, model, T0);
    let dimension = |body: &PointBody| match body {
        PointBody::Live(live) => Some(live.template.dimension()),
        PointBody::Erased { .. } => None,
    };
    (projection.write.iter().filter_map(|point| dimension(&point.body)).collect(), projection.lacking.len())
}

#[test]
fn what_is_wanted_follows_from_where_the_collection_lies() {
    let placement = |name: &str| name.parse().expect("it is a placement");
    let before = Placements::only(model(), placement("a"));
    assert_eq!(WantedModels::of(&before), only(model()));
    let moved = before.begun((&placement("b"), &model()), T0).expect("it can be moved");
    assert_eq!(WantedModels::of(&moved), only(model()), "one model in both");
    let turning = before.begun((&placement("b"), &newer()), T0).expect("it can be moved");
    assert_eq!(WantedModels::of(&turning), filling(T0));
    let Some(moving @ Move { stage: MoveStage::Filling, .. }) = &turning.moving else { panic!("it moves") };
    let switched = turning.switched(moving).expect("it is filled");
    assert_eq!(WantedModels::of(&switched), leaving());
}

#[test]
fn a_face_has_templates_of_both_models_and_keeps_its_version() {
    let (before, after) = (enrolled(), turning());
    assert!(!before.has_models(&filling(T0)) && before.has_models(&only(model())));
    assert!(after.has_models(&filling(T0)) && after.has_models(&leaving()));
    assert_eq!(projected(&before, &newer()), (vec![], before.faces.len()));
    assert_eq!(projected(&after, &newer()), (vec![3; after.faces.len()], 0));
    assert_eq!(projected(&after, &model()), (vec![4; after.faces.len()], 0));
    let versions = |record: &Record| record.faces.iter().map(|face| face.version).collect::<Vec<_>>();
    assert_eq!(versions(&before), versions(&after));
    assert!(after.version > before.version);
    assert_eq!(with_models(&after, &filling(T0), None, at(T0.plus(HOUR))), None, "there is nothing to do");
}

#[test]
fn a_later_move_to_the_same_model_writes_the_record_again() {
    let later = T0.plus(HOUR);
    let before = turning();
    assert!(!before.has_models(&filling(later)));
    let after = with_models(&before, &filling(later), None, at(later)).expect("it changes");
    assert!(after.has_models(&filling(later)), "the templates are the same, no photo is needed");
}

#[test]
fn the_old_models_templates_go_when_it_is_left() {
    let after = with_models(&turning(), &only(newer()), None, at(T0.plus(HOUR))).expect("it changes");
    assert_eq!(after.origin.face_model, newer());
    assert_eq!(projected(&after, &newer()), (vec![3; after.faces.len()], 0));
    assert_eq!(projected(&after, &model()), (vec![], after.faces.len()));
}

#[test]
fn a_model_that_not_every_face_has_does_not_become_the_records_own() {
    let before = enrolled();
    assert_eq!(with_models(&before, &only(newer()), None, at(T0.plus(HOUR))), None);
}

#[test]
fn erasing_takes_both_templates() {
    let erased = erase(&turning(), &[number(1)], at(T0.plus(HOUR))).record.expect("it changes");
    let face = erased.face(number(1)).expect("its number stays");
    assert!(face.live().is_none(), "nothing but number, version and times is left");
}

/// Faces of the newer model join those of the record where these have templates of it, and not where they have none (I7).
#[test]
fn faces_of_another_model_join_only_where_all_have_it() {
    let by_newer = Origin { face_model: newer(), ..origin(Some("ada")) };
    let join = |before: &Record| enrol(&by_newer, Some(before), enrolment("b", &[0.7]), at(T0.plus(HOUR)));
    assert_eq!(join(&enrolled()), Err(Refusal::OtherFaceModel));
    let Ok(Enrolled::Changed { record, .. }) = join(&turning()) else { panic!("they join") };
    assert_eq!(record.origin.face_model, newer());
    let old_faces = turning().faces.len();
    let lacking = |model: &FaceModelName| record.lacking(model).count();
    assert_eq!((lacking(&newer()), lacking(&model())), (0, 1), "the old faces keep both");
    assert_eq!(record.faces.len(), old_faces + 1);
    // A record without faces is of no model.
    let erased =
        erase(&enrolled(), &[number(1), number(2)], at(T0.plus(MILLISECOND))).record.expect("it changes");
    assert!(
        matches!(join(&erased), Ok(Enrolled::Changed { record, .. }) if record.origin.face_model == newer())
    );
}
