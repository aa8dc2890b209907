//! What the service knows of its face model.

use vidimus_domain::FaceModelName;
use vidimus_domain::score::Calibration;

/// The face model that new collections are made with.
#[derive(Clone, Debug)]
pub struct FaceModels {
    /// Its name.
    pub face_model: FaceModelName,
    /// Components of its templates.
    pub dimension: usize,
    /// Its version as clients see it: digits and dots.
    pub face_model_version: String,
    /// What its scores mean.
    pub calibration: Calibration,
}
