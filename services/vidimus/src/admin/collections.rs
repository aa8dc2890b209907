//! Collections for administrators: what there is, and how long each keeps faces and photos.

use std::sync::Arc;
use std::time::Duration;

use clap::Subcommand;
use humantime_serde::re::humantime;
use serde_json::{Value, json};
use vidimus_domain::catalog::Collection;
use vidimus_domain::event::{Audit, AuditedAction};
use vidimus_domain::placements::MoveStage;
use vidimus_domain::retention::RetentionRule;
use vidimus_domain::{ErrorCode, Failure};
use vidimus_ports::{Clock, EventLog, Random};
use vidimus_runtime::audit::AuditLog;
use vidimus_runtime::catalog::{Catalog, NewCollection};
use vidimus_runtime::models::FaceModels;

use super::service::AdminCommand;

/// Who the audit log says it was.
pub(super) const PRINCIPAL: &str = "administrator";
/// What lifts a rule.
const NONE: &str = "none";

/// What can be done with collections.
#[derive(Debug, Subcommand)]
pub enum CollectionCommand {
    /// Make a collection, as its tenant can with CreateCollection (the service must run).
    Create {
        /// The tenant's name.
        tenant: String,
        /// The collection's: 1 to 255 of letters, digits, `_`, `.`, `-`.
        name: String,
        /// With an index collection of its own: for a large one, of a million faces say, whose searches and deletions then cost no other
        /// anything. `rebuild-index --own` moves one that is there.
        #[arg(long)]
        large: bool,
    },
    /// List a tenant's collections.
    List {
        /// The tenant's name.
        tenant: String,
    },
    /// Show one collection.
    Show {
        /// The tenant's name.
        tenant: String,
        /// The collection's.
        name: String,
    },
    /// Set how long a collection keeps faces and photos, for those that are there too. What has expired never comes back.
    #[command(group(clap::ArgGroup::new("kept").required(true).multiple(true)))]
    SetRetention {
        /// The tenant's name.
        tenant: String,
        /// The collection's.
        name: String,
        /// How long faces match after their enrolment: `30d`, `12h`, …; `none`: until they are deleted.
        #[arg(long, value_name = "DURATION", group = "kept")]
        faces: Option<String>,
        /// How long photos are stored: `7d`, `12h`, …; `none`: as long as their faces.
        #[arg(long, value_name = "DURATION", group = "kept")]
        photos: Option<String>,
    },
}

impl From<CollectionCommand> for AdminCommand {
    fn from(command: CollectionCommand) -> Self {
        match command {
            CollectionCommand::Create { tenant, name, large } => {
                Self::CreateCollection { tenant, name, large }
            }
            CollectionCommand::List { tenant } => Self::ListCollections { tenant },
            CollectionCommand::Show { tenant, name } => Self::ShowCollection { tenant, name },
            CollectionCommand::SetRetention { tenant, name, faces, photos } => {
                Self::SetRetention(SetRetention { tenant, name, faces, photos })
            }
        }
    }
}

/// A change of a collection's retention rule; what is not named stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SetRetention {
    /// The tenant's name.
    pub tenant: String,
    /// The collection's.
    pub name: String,
    /// How long faces are kept: a duration or `none`.
    pub faces: Option<String>,
    /// How long photos are kept: a duration or `none`.
    pub photos: Option<String>,
}

/// Says on the audit log what administrators do to collections.
#[derive(Clone)]
pub struct AdminAudit {
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// For the ids of what was asked.
    pub random: Arc<dyn Random>,
}

/// Makes a collection with the face model that new collections have.
pub(super) async fn create(
    catalog: &Catalog,
    models: Option<&FaceModels>,
    (tenant, name): (&str, &str),
    is_large: bool,
) -> Result<Value, Failure> {
    let model = models.map(|models| &models.first).ok_or_else(|| {
        Failure::new(
            ErrorCode::Unavailable,
            "a collection is made by the running service, which has the face model",
        )
    })?;
    let tenant = catalog.tenant(&tenant.parse()?).await?.id;
    let (face_model, version) = (model.face_model.clone(), model.face_model_version.clone());
    let new = NewCollection { is_large, ..NewCollection::new(tenant, name.parse()?, face_model, version) };
    Ok(collection(&*catalog.create_collection(new).await?))
}

/// Lists a tenant's collections.
pub(super) async fn list(catalog: &Catalog, tenant: &str) -> Result<Value, Failure> {
    let tenant = catalog.tenant(&tenant.parse()?).await?;
    let mut collections = catalog.all_collections(tenant.id).await?;
    collections.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(collections.iter().map(collection).collect())
}

/// Shows a collection.
pub(super) async fn show(catalog: &Catalog, tenant: &str, name: &str) -> Result<Value, Failure> {
    let tenant = catalog.tenant(&tenant.parse()?).await?;
    let name = name.parse()?;
    Ok(collection(&*catalog.read_collection(tenant.id, &name).await?))
}

/// Sets a retention rule, then audits it: a rule that could not be audited is in force all the same, and the failure says so.
pub(super) async fn set_retention(
    catalog: &Catalog,
    audit: Option<&AdminAudit>,
    set: SetRetention,
) -> Result<Value, Failure> {
    let unaudited = || Failure::new(ErrorCode::Unavailable, "a retention rule needs the audit log");
    let audit = audit.ok_or_else(unaudited)?;
    let faces = set.faces.as_deref().map(kept).transpose()?;
    let photos = set.photos.as_deref().map(kept).transpose()?;
    let tenant = catalog.tenant(&set.tenant.parse()?).await?;
    let change = |rule: RetentionRule| {
        let faces = faces.unwrap_or(rule.faces_kept());
        RetentionRule::new(faces, photos.unwrap_or(rule.photos_kept())).map_err(Failure::from)
    };
    let changed = catalog.change_retention(tenant.id, &set.name.parse()?, change).await?;
    audit.append(&changed).await.map_err(|error| {
        tracing::error!(%error, "a retention rule could not be audited");
        Failure::new(ErrorCode::Unavailable, "the rule is set, but could not be audited: set it again")
    })?;
    Ok(collection(&changed))
}

impl AdminAudit {
    async fn append(&self, collection: &Collection) -> vidimus_ports::PortResult<()> {
        let rule = collection.retention.rule;
        let what =
            AuditedAction::RetentionChange { faces_kept: rule.faces_kept(), photos_kept: rule.photos_kept() };
        let audit = Audit {
            part: collection.part(),
            collection: collection.name.to_string(),
            request_id: format!("admin-{}", self.random.nonce()),
            principal: PRINCIPAL.to_owned(),
            at: self.clock.now(),
            what,
        };
        AuditLog::new(Arc::clone(&self.log)).append(&audit).await.map(drop)
    }
}

/// Reads a duration; `none` is none.
fn kept(text: &str) -> Result<Option<Duration>, Failure> {
    if text == NONE {
        return Ok(None);
    }
    humantime::parse_duration(text).map(Some).map_err(|error| {
        let message = format!("{text:?} is no duration ({error}): write `30d`, `12h` or `{NONE}`");
        Failure::new(ErrorCode::InvalidParameter, message)
    })
}

fn collection(collection: &Collection) -> Value {
    let kept = |kept: Option<Duration>| {
        kept.map_or_else(|| NONE.to_owned(), |kept| humantime::format_duration(kept).to_string())
    };
    let rule = collection.retention.rule;
    let moving = collection.placements.moving.as_ref();
    json!({
        "name": collection.name.as_str(),
        "faces_kept": kept(rule.faces_kept()),
        "photos_kept": kept(rule.photos_kept()),
        "face_model": collection.face_model().as_str(),
        "placement": collection.placements.read.as_str(),
        "moving": moving.map_or_else(|| "no".to_owned(), |moving| match moving.stage {
            MoveStage::Filling => format!("to {}", moving.other),
            MoveStage::Leaving => format!("from {}", moving.other),
        }),
        "created": collection.created_at.day(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        const DAY: Duration = Duration::from_secs(86_400);
        for (text, read) in [
            ("none", Some(None)),
            ("30d", Some(Some(DAY * 30))),
            ("1day 12h", Some(Some(DAY * 3 / 2))),
            ("2s", Some(Some(Duration::from_secs(2)))),
            ("soon", None),
            ("30", None),
            ("-1d", None),
            ("", None),
        ] {
            assert_eq!(kept(text).ok(), read, "{text:?}");
        }
    }
}
