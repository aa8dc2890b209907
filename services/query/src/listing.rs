//! Listing and counting.

use vidimus_domain::limits::{PAGE_DEFAULT, PAGE_MAX};
use vidimus_domain::point::{Point, PointBody};
use vidimus_domain::retention::Horizon;
use vidimus_domain::{FaceId, Failure};
use vidimus_ports::Listing;
use vidimus_proto::internal::v1;
use vidimus_runtime::errors::failure_from_port;
use vidimus_runtime::requests::{face_ids, face_view};

use crate::Query;

impl Query {
    pub(crate) async fn list(&self, request: v1::ListFacesRequest) -> Result<v1::ListFacesResponse, Failure> {
        let (_, collection) = self.searchable_collection(request.collection.as_ref()).await?;
        let horizon = collection.horizon(self.deps.clock.now());
        let index = &self.deps.index;
        let after = match request.after_face_id.as_slice() {
            [] => None,
            bytes => Some(FaceId::from_bytes(bytes)?),
        };
        let limit = page_size(request.faces_max);
        let faces = face_ids(&request.face_ids)?;
        if !request.user_id.is_empty() {
            return self.faces_of_user(&collection, &request.user_id.parse()?, (&faces, after, limit)).await;
        }
        if !faces.is_empty() {
            let faces = &faces;
            let get = |gallery| async move { index.get(&gallery, faces).await };
            let points = self.looked_up(&collection, get).await?;
            return Ok(named_faces(faces, &points, horizon));
        }
        let listing = Listing::LiveAt(horizon);
        let scroll = |gallery| async move { index.scroll(&gallery, listing, after, limit).await };
        let page = self.looked_up(&collection, scroll).await?;
        let more = page.len() == limit;
        let last = page.last().filter(|_| more).map(|point| point.face.to_bytes().to_vec());
        let shown = page.iter().filter_map(|point| Some(face_view(point.face, point.shown.as_ref()?)));
        Ok(v1::ListFacesResponse { faces: shown.collect(), last_face_id: last.unwrap_or_default() })
    }

    pub(crate) async fn count(
        &self,
        request: v1::CountFacesRequest,
    ) -> Result<v1::CountFacesResponse, Failure> {
        let (_, collection) = self.searchable_collection(request.collection.as_ref()).await?;
        let listing = Listing::LiveAt(collection.horizon(self.deps.clock.now()));
        let index = &self.deps.index;
        let count = |gallery| async move { index.count(&gallery, listing).await };
        let faces = self.looked_up(&collection, count).await?;
        let users = self.users.count(&collection.part()).await.map_err(failure_from_port)?;
        Ok(v1::CountFacesResponse { faces, users })
    }
}

fn page_size(asked: u32) -> usize {
    let size = if asked == 0 { PAGE_DEFAULT } else { asked.min(PAGE_MAX) };
    size as usize
}

/// The faces asked for by id that are live, in the order in which they were asked for.
fn named_faces(asked: &[FaceId], points: &[Point], horizon: Horizon) -> v1::ListFacesResponse {
    let view = |face: &FaceId| {
        let point = points.iter().find(|point| point.face == *face)?;
        match &point.body {
            PointBody::Live(live) if live.is_shown_at(horizon) => Some(face_view(*face, &live.shown)),
            _ => None,
        }
    };
    v1::ListFacesResponse { faces: asked.iter().filter_map(view).collect(), last_face_id: Vec::new() }
}
