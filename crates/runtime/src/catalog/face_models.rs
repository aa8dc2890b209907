//! The numbers of face models.

use vidimus_domain::blob_key::{BlobKey, BlobPrefix};
use vidimus_domain::catalog::FaceModel;
use vidimus_domain::{FaceModelName, Failure};
use vidimus_ports::PutCondition;

use super::{Catalog, changed_meanwhile};

/// How often a number is asked for anew when another process takes it first.
const ATTEMPTS_MAX: usize = 8;

impl Catalog {
    /// The version of a face model as clients see it (`1.0` is the first that the catalog has heard of); given to the
    /// model for good when it is first asked for.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn face_model_version(&self, face_model: &FaceModelName) -> Result<String, Failure> {
        for _ in 0..ATTEMPTS_MAX {
            let models = self.read_all::<FaceModel>(&BlobPrefix::face_models()).await?;
            if let Some(model) = models.iter().find(|model| model.name == *face_model) {
                return Ok(format!("{}.0", model.number));
            }
            let number = models.iter().map(|model| model.number).max().unwrap_or(0) + 1;
            let model = FaceModel { name: face_model.clone(), number };
            if self.write(&BlobKey::face_model(number), &model, PutCondition::IfAbsent).await? {
                return Ok(format!("{number}.0"));
            }
        }
        Err(changed_meanwhile())
    }
}
