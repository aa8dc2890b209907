//! What can be wrong with a cluster, and how a failure of the client library becomes a port's error.

use std::io;
use std::path::PathBuf;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use vidimus_ports::{PortError, PortErrorKind};

/// Why a log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The configuration cannot be right.
    #[error("kafka: {0}")]
    Config(String),
    /// A secret cannot be read.
    #[error("read {}: {source}", path.display())]
    Secret {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Topics are set up in a way that would lose records; one sentence each.
    #[error("{}", .0.join("; "))]
    Topics(Vec<String>),
    /// No broker answers, or lets the service in.
    #[error("reach the cluster: {source}: {said}")]
    Unreachable {
        /// What the last call came to.
        source: KafkaError,
        /// What was met on the way: to which broker, and why.
        said: String,
    },
    /// The cluster is away, or refuses.
    #[error("{doing}: {source}")]
    Cluster {
        /// What was done, as a bare verb.
        doing: &'static str,
        /// Why it failed.
        source: KafkaError,
    },
    /// A call of the port failed.
    #[error(transparent)]
    Port(#[from] PortError),
}

impl From<OpenError> for PortError {
    /// As it is met when the log was open before: topics that are set up wrongly, too, are for somebody to mend meanwhile.
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Port(error) => error,
            OpenError::Cluster { doing, source } => port_error(doing)(source),
            other => Self::new(PortErrorKind::Unavailable, "prepare topics").because(other),
        }
    }
}

impl OpenError {
    /// Wraps a failed call, for `map_err`.
    pub(crate) fn cluster(doing: &'static str) -> impl FnOnce(KafkaError) -> Self {
        move |source| Self::Cluster { doing, source }
    }
}

/// The code of a failure; none where the client library gives none.
pub(crate) fn code(error: &KafkaError) -> Option<RDKafkaErrorCode> {
    match error {
        // The library's own accessor leaves these out.
        KafkaError::AdminOp(code) => Some(*code),
        _ => error.rdkafka_error_code(),
    }
}

/// Wraps a failed call, for `map_err`. What time may mend is `Unavailable`.
pub(crate) fn port_error(context: &'static str) -> impl Fn(KafkaError) -> PortError {
    move |error| PortError::new(code(&error).map_or(PortErrorKind::Unavailable, kind), context).because(error)
}

/// A topic that is not there any more was lost, since all are made at the start: whoever subscribes next makes it anew.
pub(crate) fn later_where_lost(error: PortError) -> PortError {
    if error.kind() != PortErrorKind::NotFound {
        return error;
    }
    PortError::new(PortErrorKind::Unavailable, "reach a topic that was lost").because(error)
}

/// What to do about a failure.
pub(crate) fn kind(code: RDKafkaErrorCode) -> PortErrorKind {
    use RDKafkaErrorCode as Code;
    match code {
        Code::MessageSizeTooLarge
        | Code::InvalidArgument
        | Code::InvalidRecord
        | Code::OffsetOutOfRange
        | Code::UnknownPartition => PortErrorKind::Invalid,
        Code::UnknownTopicOrPartition | Code::UnknownTopic => PortErrorKind::NotFound,
        // No retry helps: somebody must change something.
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::UnsupportedFeature
        | Code::PolicyViolation => PortErrorKind::Internal,
        _ => PortErrorKind::Unavailable,
    }
}

/// A blocking call that panicked.
pub(crate) fn panicked(error: tokio::task::JoinError) -> PortError {
    PortError::new(PortErrorKind::Internal, "run call").because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_time_may_mend_is_unavailable() {
        for (error, kind) in [
            (KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut), PortErrorKind::Unavailable),
            (KafkaError::MessageProduction(RDKafkaErrorCode::NotEnoughReplicas), PortErrorKind::Unavailable),
            (KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), PortErrorKind::Unavailable),
            (KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge), PortErrorKind::Invalid),
            (KafkaError::AdminOp(RDKafkaErrorCode::ClusterAuthorizationFailed), PortErrorKind::Internal),
            (KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopic), PortErrorKind::NotFound),
            (KafkaError::Canceled, PortErrorKind::Unavailable),
        ] {
            assert_eq!(port_error("call")(error.clone()).kind(), kind, "{error}");
        }
    }
}
