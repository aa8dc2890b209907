//! What went wrong with a call, so far as it decides what is done next.

use std::error::Error;

use tonic::{ConnectError, Status, TimeoutExpired};
use tonic_types::StatusExt;
use vidimus_domain::ErrorCode;

use crate::errors::failure_from_status;

/// Why a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// No connection: the other side has not heard of it.
    NotSent,
    /// The connection broke: whether it was carried out is not known.
    Lost,
    /// The role cannot answer now; another process of it may.
    Refused,
    /// An answer like any other, or too late for one.
    Final,
}

impl Trouble {
    pub(super) fn of(status: &Status) -> Self {
        let is_the_roles_own = status.get_error_details().error_info().is_some();
        if is_the_roles_own {
            return match failure_from_status(status).code {
                ErrorCode::Unavailable | ErrorCode::Throttled => Self::Refused,
                _ => Self::Final,
            };
        }
        // A status that came over the wire has no source.
        let Some(source) = status.source() else { return Self::Final };
        if is_caused_by::<TimeoutExpired>(source) {
            Self::Final
        } else if is_caused_by::<ConnectError>(source) {
            Self::NotSent
        } else {
            Self::Lost
        }
    }

    /// Its name in metrics.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::NotSent => "not sent",
            Self::Lost => "lost",
            Self::Refused => "refused",
            Self::Final => "failed",
        }
    }
}

fn is_caused_by<E: Error + 'static>(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<E>() {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use vidimus_domain::Failure;

    use super::*;
    use crate::errors::status_from_failure;

    #[test]
    fn what_a_role_says_itself_is_told_from_what_the_way_says() {
        let away = Failure::unavailable("catching up", Duration::from_secs(1));
        assert_eq!(Trouble::of(&status_from_failure(&away)), Trouble::Refused);
        let wrong = Failure::new(ErrorCode::NotFound, "no such face");
        assert_eq!(Trouble::of(&status_from_failure(&wrong)), Trouble::Final);
        assert_eq!(Trouble::of(&Status::unimplemented("no such method")), Trouble::Final);
        let broken = Status::from_error(Box::new(std::io::Error::other("reset by peer")));
        assert_eq!(Trouble::of(&broken), Trouble::Lost);
        let refused = Status::from_error(Box::new(ConnectError("refused".into())));
        assert_eq!(Trouble::of(&refused), Trouble::NotSent);
    }
}
