//! GetPhoto: the photo that an enrolled face came from. It has no twin in the Rekognition API.

use vidimus_proto::api;
use vidimus_proto::internal::v1;

use super::Operation;
use super::shapes::{COLLECTION_ID, FACE_ID, face_id};
use crate::constraint::{Member, Rule, required};
use crate::error::{ApiError, ErrorType};
use crate::services::{Context, Services, answered, collection_ref};

pub(crate) struct GetPhoto;

impl Operation for GetPhoto {
    const NAME: &'static str = "GetPhoto";
    const MEMBERS: &'static [Member] = &[COLLECTION_ID, required("FaceId", Rule::Text(FACE_ID))];
    type Input = api::GetPhotoRequest;
    /// The whole photo; whoever sends it cuts it.
    type Output = api::PhotoPiece;

    async fn answer(
        services: &Services,
        context: &Context,
        input: Self::Input,
    ) -> Result<Self::Output, ApiError> {
        if !context.access.key.may_get_photos {
            let message = "This access key may not fetch photos: an administrator makes keys that may.";
            return Err(ApiError::new(ErrorType::AccessDenied, message));
        }
        let collection = services.collection(context, &input.collection_id).await?;
        let request = v1::GetPhotoRequest {
            collection: Some(collection_ref(&collection)),
            caller: Some(context.caller()),
            face_id: face_id(&input.face_id)?.to_bytes().to_vec(),
        };
        let got = answered(services.deps.query.get_photo(tonic::Request::new(request)).await)?;
        Ok(api::PhotoPiece { bytes: got.photo })
    }
}
