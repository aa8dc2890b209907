//! The photo that a request sends or names.

use vidimus_domain::ids::BucketName;
use vidimus_domain::limits::{PHOTO_BYTES_MAX, PHOTO_OBJECT_BYTES_MAX};
use vidimus_ports::{Found, SourceObject};
use vidimus_proto::api;
use vidimus_runtime::errors::failure_from_port;

use crate::error::{ApiError, ErrorType};
use crate::services::{Context, Photo, Services};

impl Services {
    /// The photo's bytes, from the request or from the bucket that it names.
    pub(crate) async fn photo(
        &self,
        context: &Context,
        image: Option<api::Image>,
    ) -> Result<Photo, ApiError> {
        let image = image.ok_or_else(|| wrong("an image is needed."))?;
        match (image.bytes, image.s3_object) {
            (Some(bytes), None) if bytes.is_empty() => Err(wrong("Image.Bytes is empty.")),
            (Some(bytes), None) if bytes.len() > PHOTO_BYTES_MAX => Err(ApiError::image_too_large()),
            (Some(bytes), None) => Ok(Photo { bytes, _room: None }),
            (None, Some(object)) => self.object(context, object).await,
            (Some(_), Some(_)) => Err(wrong("Image.Bytes and Image.S3Object were both given: give one.")),
            (None, None) => Err(wrong("Image needs Bytes or S3Object.")),
        }
    }

    async fn object(&self, context: &Context, object: api::S3Object) -> Result<Photo, ApiError> {
        let (Some(bucket), Some(name)) = (object.bucket, object.name) else {
            return Err(wrong("S3Object needs Bucket and Name."));
        };
        let bucket = bucket.parse::<BucketName>().map_err(|_| no_object())?;
        let mapped = self.deps.catalog.bucket(context.tenant(), &bucket).await?.ok_or_else(no_object)?;
        // Room for the largest that may come, before it comes.
        let room = context.admission.bytes(PHOTO_OBJECT_BYTES_MAX)?;
        let object = SourceObject { prefix: mapped.prefix, name, version: object.version };
        let found = self.deps.photos.get(&object, PHOTO_OBJECT_BYTES_MAX as u64).await;
        match found.map_err(failure_from_port)? {
            Found::Photo(bytes) => Ok(Photo { bytes, _room: Some(room) }),
            Found::Nothing => Err(no_object()),
            Found::TooLarge => {
                let message = format!("Image size is too large: at most {PHOTO_OBJECT_BYTES_MAX} bytes.");
                Err(ApiError::new(ErrorType::ImageTooLarge, message))
            }
        }
    }
}

fn wrong(message: &str) -> ApiError {
    ApiError::new(ErrorType::InvalidParameter, format!("Request has invalid parameters: {message}"))
}

/// Whether the bucket, the object or the right to read it is missing is not told.
fn no_object() -> ApiError {
    let message =
        "Unable to get object metadata from S3. Check object key, region and/or access permissions.";
    ApiError::new(ErrorType::InvalidS3Object, message)
}
