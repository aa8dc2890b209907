//! What ingestion counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use vidimus_domain::Failure;
use vidimus_proto::internal::v1::BulkOutcome;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UserChangeLabel {
    change: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BulkLabel {
    kind: &'static str,
    outcome: &'static str,
}

/// Photos and faces, by what came of them.
#[derive(Default)]
pub(crate) struct Metrics {
    enrolments: Family<OutcomeLabel, Counter>,
    enrolled_faces: Counter,
    deletions: Family<OutcomeLabel, Counter>,
    deleted_faces: Counter,
    user_changes: Family<UserChangeLabel, Counter>,
    bulk: Family<BulkLabel, Counter>,
    /// Enrolments that were answered before their faces were searchable.
    pub(crate) answered_unprojected: Counter,
    /// Compare-and-swaps that were lost and tried again.
    pub(crate) lost_races: Counter,
}

impl Metrics {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let mut counter =
            |name: &str, help: &str, counter: &Counter| registry.register(name, help, counter.clone());
        counter("vidimus_enrolled_faces", "Faces that enrolments answered", &metrics.enrolled_faces);
        counter("vidimus_deleted_faces", "Faces that deletions answered", &metrics.deleted_faces);
        counter(
            "vidimus_enrolments_answered_unprojected",
            "Enrolments answered before their faces were searchable",
            &metrics.answered_unprojected,
        );
        counter(
            "vidimus_record_races_lost",
            "Writes of records that were decided again",
            &metrics.lost_races,
        );
        registry.register("vidimus_enrolments", "Photos to enrol, by outcome", metrics.enrolments.clone());
        registry.register(
            "vidimus_bulk_accepted",
            "What bulk jobs brought, photos or records of templates, by what was known of it on arrival",
            metrics.bulk.clone(),
        );
        let user_changes = metrics.user_changes.clone();
        registry.register("vidimus_user_changes", "Changes of users, by kind and outcome", user_changes);
        registry.register("vidimus_deletions", "Deletions, by outcome", metrics.deletions.clone());
        metrics
    }

    pub(crate) fn enrolment(&self, faces: Result<usize, &Failure>) {
        count(&self.enrolments, &self.enrolled_faces, faces);
    }

    pub(crate) fn user_change(&self, change: &'static str, failure: Option<&Failure>) {
        let outcome = failure.map_or("OK", |failure| failure.code.as_str());
        self.user_changes.get_or_create(&UserChangeLabel { change, outcome }).inc();
    }

    pub(crate) fn bulk(&self, kind: &'static str, outcome: Result<BulkOutcome, &Failure>) {
        let outcome = match outcome {
            Ok(BulkOutcome::Unspecified | BulkOutcome::Waiting) => "WAITING",
            Ok(BulkOutcome::Enrolled) => "ENROLLED",
            Ok(BulkOutcome::AlreadyThere) => "ALREADY_THERE",
            Ok(BulkOutcome::Refused) => "REFUSED",
            Ok(BulkOutcome::Gone) => "GONE",
            Err(failure) => failure.code.as_str(),
        };
        self.bulk.get_or_create(&BulkLabel { kind, outcome }).inc();
    }

    pub(crate) fn deletion(&self, faces: Result<usize, &Failure>) {
        count(&self.deletions, &self.deleted_faces, faces);
    }
}

fn count(outcomes: &Family<OutcomeLabel, Counter>, faces: &Counter, answer: Result<usize, &Failure>) {
    let outcome = match answer {
        Ok(answered) => {
            faces.inc_by(answered as u64);
            "OK"
        }
        Err(failure) => failure.code.as_str(),
    };
    outcomes.get_or_create(&OutcomeLabel { outcome }).inc();
}
