//! Where a move goes to.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vidimus_domain::catalog::Collection;
use vidimus_domain::placements::{LEFT_MAX, Move};
use vidimus_domain::{ErrorCode, FaceModelName, Failure, Placement};
use vidimus_ports::Listing;
use vidimus_runtime::errors::failure_from_port;

use super::{Mover, destination};

/// Names of one kind that are tried: those that were left, the one that is read, and some where something was found.
const NAMES_MAX: usize = 2 * LEFT_MAX;

/// Where a collection is to be moved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Destination {
    /// Another index collection of the kind that it is in: shared, or its own.
    #[default]
    Another,
    /// An index collection that collections share.
    Shared,
    /// One of its own.
    Own,
    /// The one of that name.
    Named(String),
}

/// What a move is to come to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Goal {
    /// Where the collection is to lie.
    #[serde(default)]
    pub destination: Destination,
    /// The face model that its faces are to be embedded with; none: the one that it has.
    #[serde(default)]
    pub face_model: Option<String>,
}

impl Goal {
    /// The face model that is asked for.
    pub(super) fn face_model(&self) -> Result<Option<FaceModelName>, Failure> {
        Ok(self.face_model.as_ref().map(|name| name.parse()).transpose()?)
    }
}

/// Refuses to take up a move that goes elsewhere than is asked for.
pub(super) fn check_goal(collection: &Collection, moving: &Move, to: &Goal) -> Result<(), Failure> {
    let (goes_to, model) = destination(collection, moving);
    let is_own = goes_to.owner() == Some(collection.uid);
    let is_model = to.face_model()?.is_none_or(|asked| asked == *model);
    let agrees = match &to.destination {
        Destination::Another => true,
        Destination::Shared => !is_own,
        Destination::Own => is_own,
        Destination::Named(name) => name == goes_to.as_str(),
    };
    let message = || format!("a move to {goes_to} is under way: let it end, or cancel it");
    if agrees && is_model { Ok(()) } else { Err(Failure::new(ErrorCode::AlreadyExists, message())) }
}

impl Mover {
    /// Begins a move to the first place of the kind asked for that is clean.
    pub(super) async fn begin_anew(
        &self,
        collection: &Collection,
        to: &Goal,
    ) -> Result<Arc<Collection>, Failure> {
        let catalog = &self.deps.catalog;
        let (part, placements) = (collection.part(), &collection.placements);
        let model = to.face_model()?.unwrap_or_else(|| collection.face_model().clone());
        let wanted = candidates(collection, (&to.destination, &model))?;
        let is_named = wanted.len() == 1;
        for target in wanted {
            let is_left = placements.left.iter().any(|left| left.placement == target);
            if !is_named && (is_left || placements.read == target) {
                continue;
            }
            let gallery = collection.gallery_in(&target);
            let is_new = !is_left && placements.read != target;
            let found = self.deps.index.scroll(&gallery, Listing::Everything, None, 1).await;
            if is_new && !found.map_err(failure_from_port)?.is_empty() {
                tracing::warn!(%part, placement = %target, "faces lie where the catalog knows of none; they go");
                catalog.found_in(&part, &target).await?;
                continue;
            }
            return catalog.begin_move(&part, (&target, &model)).await;
        }
        let message = "faces of the collection lie there that the catalog knows nothing of: they are cleared away \
                       first, which takes about two days; move it elsewhere";
        Err(Failure::new(ErrorCode::Conflict, message))
    }
}

/// The placements to try, in this order.
fn candidates(
    collection: &Collection,
    (to, model): (&Destination, &FaceModelName),
) -> Result<Vec<Placement>, Failure> {
    let uid = collection.uid;
    let own =
        || (1..=NAMES_MAX).map(|number| model.own_placement(uid, number)).collect::<Result<Vec<_>, _>>();
    let shared =
        || (1..=NAMES_MAX).map(|number| model.shared_placement(number)).collect::<Result<Vec<_>, _>>();
    Ok(match to {
        Destination::Another if collection.placements.read.owner() == Some(uid) => own()?,
        Destination::Another | Destination::Shared => shared()?,
        Destination::Own => own()?,
        Destination::Named(name) => {
            let placement: Placement = name.parse()?;
            if !model.may_be_in(&placement) {
                let message = format!(
                    "{name} is no placement of the face model {model}: those are {model} and {model}.SOMETHING"
                );
                return Err(Failure::new(ErrorCode::InvalidParameter, message));
            }
            if placement.owner().is_some_and(|owner| owner != uid) {
                let message = format!("{name} is another collection's own: it goes when that leaves it");
                return Err(Failure::new(ErrorCode::InvalidParameter, message));
            }
            vec![placement]
        }
    })
}
