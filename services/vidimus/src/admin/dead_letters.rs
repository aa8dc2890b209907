//! `vidimus admin dead-letters`: photos that could not be embedded.

use clap::Subcommand;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use vidimus_domain::{ErrorCode, Failure};
use vidimus_ports::PortError;
use vidimus_runtime::dead_letters::{DeadLetter, DeadLetters};
use vidimus_runtime::errors::failure_from_port;

/// Letters that a listing shows at most.
const LISTED_MAX: usize = 1000;

/// What can be done with dead letters.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum DeadLetterCommand {
    /// List photos that could not be embedded, with the reasons: the first thousand.
    List,
    /// Have all of them tried again. Those that fail again come back.
    Replay,
}

/// Carries a command out.
///
/// # Errors
/// Where the log or the store fails.
pub async fn execute(
    dead_letters: Option<&DeadLetters>,
    command: DeadLetterCommand,
) -> Result<Value, Failure> {
    let missing = || Failure::new(ErrorCode::Unavailable, "dead letters need the log");
    let dead_letters = dead_letters.ok_or_else(missing)?;
    match command {
        DeadLetterCommand::List => {
            let letters = dead_letters.list(LISTED_MAX).await.map_err(failure)?;
            Ok(letters.iter().map(row).collect())
        }
        DeadLetterCommand::Replay => {
            let replayed = dead_letters.replay().await.map_err(failure)?;
            let mut answer = json!(replayed);
            if replayed.kept > 0 {
                answer["why_kept"] = json!(
                    "the records of these photos are damaged; `vidimus admin dead-letters list` names them"
                );
            }
            Ok(answer)
        }
    }
}

/// An operator is told all that is known: how many letters are left, or that one is too new.
fn failure(error: PortError) -> Failure {
    let message = error.to_string();
    Failure { message, ..failure_from_port(error) }
}

fn row(letter: &DeadLetter) -> Value {
    let photo = letter.photo.as_ref();
    json!({
        "position": format!("{}/{}", letter.position.partition, letter.position.offset),
        "tenant": photo.map(|photo| photo.part.tenant.to_string()),
        "collection_uid": photo.map(|photo| photo.part.collection.to_string()),
        "image": photo.map(|photo| photo.image.to_string()),
        "reason": letter.reason,
    })
}
