//! What the service knows of face models.

use vidimus_domain::score::Calibration;
use vidimus_domain::{ErrorCode, FaceModelName, Failure};

/// A face model.
#[derive(Clone, Debug)]
pub struct KnownModel {
    /// Its name.
    pub face_model: FaceModelName,
    /// Components of its templates.
    pub dimension: usize,
    /// Its version as clients see it: digits and dots.
    pub face_model_version: String,
    /// What its scores mean.
    pub calibration: Calibration,
}

/// The face models that the service runs.
#[derive(Clone, Debug)]
pub struct FaceModels {
    /// The one that new collections are made with, and that photos are compared by outside of collections.
    pub first: KnownModel,
    /// Others: of collections that were made with them, or turn to them.
    pub others: Vec<KnownModel>,
}

impl FaceModels {
    /// All of them, the first one first.
    pub fn all(&self) -> impl Iterator<Item = &KnownModel> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// The model of that name.
    ///
    /// # Errors
    /// `InvalidParameter` where the service does not run it: what its scores mean is not known then (I7).
    pub fn of(&self, face_model: &FaceModelName) -> Result<&KnownModel, Failure> {
        self.all().find(|known| known.face_model == *face_model).ok_or_else(|| {
            let message = format!("the face model {face_model} is none that this service runs");
            Failure::new(ErrorCode::InvalidParameter, message)
        })
    }
}
