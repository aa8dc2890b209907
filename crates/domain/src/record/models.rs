//! Templates of two face models, while a collection turns from one to the other.
//!
//! A face then has a template of each, both in its record, so that erasing takes both. No version changes with a template: what is
//! written for it into the other placement ([`crate::placements`]) comes there for the first time.
//!
//! A template for a move counts for that move alone: it bears the time at which the move began. A later move to the same model writes
//! every record once more, and so whoever slept over a record of an earlier move, and would take the template out of it, loses its
//! compare-and-swap.

use super::{Face, FaceBody, LiveFace, Record, Refusal, Write};
use crate::ids::{FaceModelName, FaceNumber};
use crate::placements::{MoveStage, Placements};
use crate::template::Template;
use crate::time::UnixMillis;

/// A template of another face model than the record's.
#[derive(Clone, Debug, PartialEq)]
pub struct OtherTemplate {
    /// The model.
    pub face_model: FaceModelName,
    /// When the move began that it was made for, or was found fit for last.
    pub made_for: UnixMillis,
    /// The embedding.
    pub template: Template,
}

/// The face models that a collection's faces need templates of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedModels {
    /// The collection's.
    pub own: FaceModelName,
    /// That of the other placement of a move, where it is another one.
    pub other: Option<FaceModelName>,
    /// While that placement is filled, when the move began: a template that was made before counts only once it is marked with it.
    pub made_for: Option<UnixMillis>,
}

/// Templates that were made of a record's photo, at the landmarks that the record has.
#[derive(Clone, Debug)]
pub struct MadeTemplates {
    /// The face model that made them.
    pub face_model: FaceModelName,
    /// Each with the face that it is of.
    pub templates: Vec<(FaceNumber, Template)>,
}

impl WantedModels {
    /// Those of a collection that lies there.
    #[must_use]
    pub fn of(placements: &Placements) -> Self {
        let own = placements.face_model.clone();
        let turning = placements.moving.as_ref().filter(|moving| moving.face_model != own);
        let is_filling = turning.filter(|moving| moving.stage == MoveStage::Filling);
        let made_for = is_filling.map(|moving| moving.began_at);
        Self { own, other: turning.map(|moving| moving.face_model.clone()), made_for }
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &FaceModelName> {
        std::iter::once(&self.own).chain(&self.other)
    }
}

impl Record {
    /// A face's template of that model, where it has one.
    #[must_use]
    pub fn template_of<'a>(&self, live: &'a LiveFace, model: &FaceModelName) -> Option<&'a Template> {
        if self.origin.face_model == *model {
            return Some(&live.detected.template);
        }
        live.other_template.as_ref().filter(|other| other.face_model == *model).map(|other| &other.template)
    }

    /// The faces that have no template of that model and are not erased.
    pub fn lacking(&self, model: &FaceModelName) -> impl Iterator<Item = (&Face, &LiveFace)> {
        let unerased = self.faces.iter().filter_map(|face| Some((face, face.live()?)));
        unerased.filter(|(_, live)| self.template_of(live, model).is_none())
    }

    /// Whether every face that is not erased has the templates that are wanted, made for this move.
    #[must_use]
    pub fn has_models(&self, wanted: &WantedModels) -> bool {
        let is_marked = |live: &LiveFace| match (&wanted.other, wanted.made_for, &live.other_template) {
            (Some(model), Some(at), Some(other)) => other.face_model == *model && other.made_for == at,
            (Some(_), Some(_), None) => false,
            _ => true,
        };
        wanted.all().all(|model| self.lacking(model).next().is_none())
            && self.faces.iter().filter_map(Face::live).all(is_marked)
    }

    /// Makes its templates those of the wanted models, as far as there are such: the collection's own is that of the faces as they
    /// were detected, where all of them have it.
    fn turn_to(&mut self, wanted: &WantedModels, made: Option<&MadeTemplates>) {
        let is_made = |model: &FaceModelName, number| {
            made.is_some_and(|made| made.face_model == *model && made.of(number).is_some())
        };
        let has_all =
            |model: &&FaceModelName| self.lacking(model).all(|(face, _)| is_made(model, face.number));
        let main = wanted.all().find(has_all).unwrap_or(&self.origin.face_model).clone();
        let before = std::mem::replace(&mut self.origin.face_model, main.clone());
        for face in &mut self.faces {
            let number = face.number;
            let FaceBody::Live(live) = &mut face.body else { continue };
            let other = live.other_template.take();
            let made_for = wanted.made_for.or(other.as_ref().map(|other| other.made_for)).unwrap_or_default();
            let mut templates = vec![(before.clone(), live.detected.template.clone())];
            templates.extend(other.map(|other| (other.face_model, other.template)));
            let made = made.and_then(|made| Some((made.face_model.clone(), made.of(number)?.clone())));
            templates.extend(made);
            if let Some(index) = templates.iter().position(|(model, _)| *model == main) {
                live.detected.template = templates.swap_remove(index).1;
            }
            let kept =
                templates.into_iter().find(|(model, _)| *model != main && wanted.all().any(|of| of == model));
            live.other_template =
                kept.map(|(face_model, template)| OtherTemplate { face_model, made_for, template });
        }
    }

    /// The record with templates of that model alone: what it has of another was made for a move elsewhere, or before.
    ///
    /// # Errors
    /// Where a face has no template of that model.
    pub fn only_of(mut self, model: &FaceModelName) -> Result<Self, Refusal> {
        self.join_model(model)?;
        for face in &mut self.faces {
            if let FaceBody::Live(live) = &mut face.body {
                live.other_template = None;
            }
        }
        Ok(self)
    }

    /// Before faces of `model` join it: those that it has keep the templates that they have.
    ///
    /// # Errors
    /// Where a face has no template of that model.
    pub(super) fn join_model(&mut self, model: &FaceModelName) -> Result<(), Refusal> {
        if self.origin.face_model == *model {
            return Ok(());
        }
        let other = Some(self.origin.face_model.clone());
        self.turn_to(&WantedModels { own: model.clone(), other, made_for: None }, None);
        if self.origin.face_model == *model { Ok(()) } else { Err(Refusal::OtherFaceModel) }
    }
}

impl MadeTemplates {
    fn of(&self, number: FaceNumber) -> Option<&Template> {
        self.templates.iter().find(|(of, _)| *of == number).map(|(_, template)| template)
    }
}

/// The record with templates of the wanted models, as far as it has them or they were made; those of other models go. None where that
/// changes nothing; what has expired meanwhile is a change.
///
/// Whoever writes it read first the record, then what is wanted from the store: so what is wanted is no older than what the record
/// has.
#[must_use]
pub fn with_models(
    before: &Record,
    wanted: &WantedModels,
    made: Option<&MadeTemplates>,
    write: Write,
) -> Option<Record> {
    let mut record = before.next(write);
    record.turn_to(wanted, made);
    let is_changed = record.faces != before.faces || record.origin.face_model != before.origin.face_model;
    is_changed.then_some(record)
}
