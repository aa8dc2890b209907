//! Answers that are long.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use serde::Serialize;
use tonic::{Request, Response, Status};
use vidimus_domain::catalog::Collection;
use vidimus_domain::limits::PAGE_MAX;
use vidimus_proto::api;

use super::Call;
use super::faces::answer;
use crate::error::ApiError;
use crate::operation::{
    GetPhoto, ListFaces, ListUsers, Operation, Page, USERS_PAGE_MAX, check_message, faces_page, users_page,
};
use crate::services::collection_ref;

/// A stream of answers.
pub(super) type Stream<T> = Pin<Box<dyn futures::Stream<Item = Result<T, Status>> + Send>>;

/// Bytes of a photo in one message: well under the 4 MB that clients take by default.
const PIECE_BYTES: usize = 256 * 1024;

/// Where a listing stands: what it has not given yet of the page that it read, and the place of the next.
struct Walk<T> {
    call: Call,
    collection: Arc<Collection>,
    read: VecDeque<T>,
    after: Option<Vec<u8>>,
}

impl<T> Walk<T> {
    fn begun(call: Call, collection: Arc<Collection>) -> Self {
        Self { call, collection, read: VecDeque::new(), after: Some(Vec::new()) }
    }
}

/// All faces of a collection. A stream reads a page when its client has taken the one before.
pub(super) async fn faces(
    request: Request<api::StreamFacesRequest>,
) -> Result<Response<Stream<api::Face>>, Status> {
    let call = Call::of(&request)?;
    let request = request.into_inner();
    check::<ListFaces>(&call, &request)?;
    let collection = found(&call, &request.collection_id).await?;
    let user_id = request.user_id.unwrap_or_default();
    let walk = Walk::begun(call, collection);
    let next = move |mut walk: Walk<api::Face>| {
        let user_id = user_id.clone();
        async move {
            while walk.read.is_empty() {
                let wanted = Page {
                    after: walk.after.take()?,
                    faces_max: PAGE_MAX,
                    face_ids: Vec::new(),
                    user_id: user_id.clone(),
                };
                match faces_page(&walk.call.inner.services, &walk.collection, wanted).await {
                    Ok((page, after)) => (walk.read, walk.after) = (page.into(), after),
                    Err(error) => return Some((Err(walk.call.refuse(&error)), walk)),
                }
            }
            walk.read.pop_front().map(|face| (Ok(face), walk))
        }
    };
    Ok(Response::new(stream::unfold(walk, next).boxed()))
}

/// All users of a collection, in the same manner.
pub(super) async fn users(
    request: Request<api::StreamUsersRequest>,
) -> Result<Response<Stream<api::User>>, Status> {
    let call = Call::of(&request)?;
    let request = request.into_inner();
    check::<ListUsers>(&call, &request)?;
    let collection = found(&call, &request.collection_id).await?;
    let walk = Walk::begun(call, collection);
    let next = |mut walk: Walk<api::User>| async move {
        while walk.read.is_empty() {
            let place = (walk.after.take()?, USERS_PAGE_MAX);
            match users_page(&walk.call.inner.services, collection_ref(&walk.collection), place).await {
                Ok((page, after)) => (walk.read, walk.after) = (page.into(), after),
                Err(error) => return Some((Err(walk.call.refuse(&error)), walk)),
            }
        }
        walk.read.pop_front().map(|user| (Ok(user), walk))
    };
    Ok(Response::new(stream::unfold(walk, next).boxed()))
}

/// A photo in pieces.
pub(super) async fn photo(
    request: Request<api::GetPhotoRequest>,
) -> Result<Response<Stream<api::PhotoPiece>>, Status> {
    let call = Call::of(&request)?;
    let whole = answer::<GetPhoto>(&call, request.into_inner()).await;
    let whole = whole.map_err(|error| call.refuse(&error))?.bytes;
    let next = |(mut rest, call): (Bytes, Call)| async move {
        let piece = rest.split_to(rest.len().min(PIECE_BYTES));
        (!piece.is_empty()).then_some((Ok(api::PhotoPiece { bytes: piece }), (rest, call)))
    };
    Ok(Response::new(stream::unfold((whole, call), next).boxed()))
}

/// A stream takes what its listing takes, but for pages: it is checked along the listing's table.
fn check<O: Operation>(call: &Call, request: &impl Serialize) -> Result<(), Status> {
    check_message::<O>(request).map_err(|refusal| call.refuse(&refusal.into()))
}

async fn found(call: &Call, name: &str) -> Result<Arc<Collection>, Status> {
    let found: Result<_, ApiError> = call.inner.services.collection(&call.context, name).await;
    found.map_err(|error| call.refuse(&error))
}
