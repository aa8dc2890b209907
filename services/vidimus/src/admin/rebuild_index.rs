//! `vidimus admin rebuild-index`: has the service make a collection's index again, and tells how far it is.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use vidimus_domain::Failure;
use vidimus_ledger::{Destination, Goal, Ledger, MoveProgress, MoveState};
use vidimus_runtime::catalog::Catalog;

use super::service::AdminCommand;
use super::{execute as ask, print};
use crate::config::Config;
use crate::output;

/// Between two looks at how far it is.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// How often a line is printed while nothing but counts has changed.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// For so long a move may stand before it is said that nobody drives it: a service that starts takes it up.
const STANDING_MAX: Duration = Duration::from_secs(60);

/// Flags of `admin rebuild-index`.
#[derive(Clone, Debug, Args)]
pub struct RebuildIndexArguments {
    /// The tenant's name.
    #[arg(long)]
    pub tenant: String,
    /// Its collection's name.
    #[arg(long)]
    pub collection: String,
    /// Into an index collection of its own: for a large collection, whose searches and deletions then cost no other anything.
    #[arg(long, group = "where_to")]
    pub own: bool,
    /// Into an index collection that collections share: back from one of its own.
    #[arg(long, group = "where_to")]
    pub shared: bool,
    /// Into the index collection of this name: the face model's name, or that with a dot and something behind it.
    #[arg(long, value_name = "NAME", group = "where_to")]
    pub placement: Option<String>,
    /// Embed every face anew with this face model, from the stored photos, and search by it from then on. Faces keep their ids. The
    /// service runs the model (`models.others`).
    #[arg(long, value_name = "NAME", conflicts_with = "cancel")]
    pub model: Option<String>,
    /// Give up what is under way, as long as searches have not switched: the collection stays where it is.
    #[arg(long, group = "where_to")]
    pub cancel: bool,
}

/// What the service is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MoveCommand {
    /// The tenant's name.
    pub tenant: String,
    /// Its collection's.
    pub collection: String,
    /// What to do.
    pub act: MoveAct,
}

/// What can be done with a move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MoveAct {
    /// Begin it, or take it up.
    Begin(Goal),
    /// Tell how far it is.
    Show,
    /// Give it up.
    Cancel,
}

/// Carries a command out.
pub(super) async fn execute(
    catalog: &Catalog,
    ledger: &Ledger,
    command: MoveCommand,
) -> Result<Value, Failure> {
    let tenant = catalog.tenant(&command.tenant.parse()?).await?.id;
    let name = command.collection.parse()?;
    let progress = match command.act {
        MoveAct::Begin(to) => ledger.begin_move(tenant, &name, &to).await?,
        MoveAct::Show => ledger.move_progress(tenant, &name).await?,
        MoveAct::Cancel => ledger.cancel_move(tenant, &name).await?,
    };
    Ok(json!(progress))
}

/// Begins it, and follows it to its end.
///
/// # Errors
/// Where it is refused, stops, or the service is away.
pub(super) async fn run(
    config: &Config,
    arguments: RebuildIndexArguments,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let destination = match (arguments.own, arguments.shared, &arguments.placement) {
        (true, ..) => Destination::Own,
        (_, true, _) => Destination::Shared,
        (.., Some(name)) => Destination::Named(name.clone()),
        _ => Destination::Another,
    };
    let goal = Goal { destination, face_model: arguments.model.clone() };
    let act = if arguments.cancel { MoveAct::Cancel } else { MoveAct::Begin(goal) };
    let mut progress = send(config, &arguments, act).await?;
    let target = progress.to.clone();
    let (mut said, mut stands_since) = (None, None);
    loop {
        match progress.state {
            MoveState::UnderWay => {
                stands_since = None;
                tell(&progress, &mut said);
            }
            MoveState::Standing if stands_since.get_or_insert_with(Instant::now).elapsed() < STANDING_MAX => {
            }
            _ => break,
        }
        tokio::time::sleep(LOOK_AGAIN).await;
        let shown = send(config, &arguments, MoveAct::Show).await;
        progress = shown.context("it broke off: once it runs again, the service goes on where it stands")?;
    }
    // The process that drove it may have ended right after it: then nobody knows more than the catalog.
    if progress.state == MoveState::None && progress.to == target {
        progress.state = MoveState::Done;
    }
    match progress.state {
        MoveState::None => bail!("it was given up meanwhile: the collection lies in {}", progress.to),
        MoveState::GivenUp if !progress.failure.is_empty() => {
            bail!("it cannot be done: {}", progress.failure)
        }
        MoveState::Stopped => bail!("it stopped: {}; the same command takes it up", progress.failure),
        MoveState::Standing => {
            bail!("the process that was asked does not drive it: the same command takes it up")
        }
        _ if json => output::line(&serde_json::to_string(&progress)?),
        _ => print(&answer(&progress)),
    }
    Ok(ExitCode::SUCCESS)
}

async fn send(
    config: &Config,
    arguments: &RebuildIndexArguments,
    act: MoveAct,
) -> anyhow::Result<MoveProgress> {
    let (tenant, collection) = (arguments.tenant.clone(), arguments.collection.clone());
    let answer = ask(config, AdminCommand::Move(MoveCommand { tenant, collection, act })).await?;
    serde_json::from_value(answer).context("read the service's answer")
}

/// Prints a line where the step has changed, or now and then.
fn tell(progress: &MoveProgress, said: &mut Option<(Value, Instant)>) {
    let step = json!(progress.step);
    if said.as_ref().is_some_and(|(before, at)| *before == step && at.elapsed() < LINE_EVERY) {
        return;
    }
    let MoveProgress { from, to, said_records, compared_records, differences, .. } = progress;
    output::note(&format!(
        "{from} -> {to}: {}: {said_records} records said, {compared_records} compared, {differences} differed",
        step.as_str().unwrap_or_default()
    ));
    *said = Some((step, Instant::now()));
}

/// The end, for people.
fn answer(progress: &MoveProgress) -> Value {
    json!({
        "state": progress.state,
        "from": progress.from,
        "to": progress.to,
        "face_model": progress.to_model,
        "records_said": progress.said_records,
        "records_compared": progress.compared_records,
        "records_that_differed": progress.differences,
    })
}
