//! `vidimus admin bulk-index`: brings a folder, a place of imports or a file of ready templates into a collection, over the running
//! service.
//!
//! A job has an id and a journal of what was answered. Begun again with its id it leaves out what is answered already, and what
//! was on its way when it broke off is found done by the service: nothing is brought in twice.

mod journal;
mod photos;
pub mod service;
mod source;
mod templates;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use tonic::Code;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use vidimus_ports::Random;
use vidimus_ports::random::SystemRandom;
use vidimus_proto::internal::v1;
use vidimus_proto::internal::v1::bulk_administration_client::BulkAdministrationClient;

use super::client;
use crate::config::Config;
use crate::output;
use journal::{Job, Journal, Totals};
use source::Source;

/// Largest message either way: a thousand templates of the largest dimension, or a photo of the largest size, and their names.
const MESSAGE_BYTES_MAX: usize = 32 << 20;

/// Flags of `admin bulk-index`.
#[derive(Clone, Debug, Args)]
#[command(group(clap::ArgGroup::new("from").required(true)))]
pub struct BulkIndexArguments {
    /// Where the photos lie: a folder on this machine, or `SCHEME://…` below the configured place of imports.
    #[arg(group = "from")]
    pub source: Option<String>,
    /// A file of ready templates instead: JSON lines, of which the first says `{"model": …, "dimension": …}`.
    #[arg(long, value_name = "FILE", group = "from")]
    pub templates: Option<PathBuf>,
    /// The tenant's name.
    #[arg(long)]
    pub tenant: String,
    /// The collection's.
    #[arg(long)]
    pub collection: String,
    /// Goes on with a job that broke off.
    #[arg(long, value_name = "ID")]
    pub job: Option<String>,
    /// Where jobs keep their journals (default: `bulk` in the data directory, `vidimus-bulk` here where there is none).
    #[arg(long, value_name = "FOLDER")]
    pub journal: Option<PathBuf>,
    /// End well though photos were refused.
    #[arg(long)]
    pub allow_refused: bool,
}

/// How long it may take to reach a process.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How often a process that says nothing is asked whether it is there, and how long it may take to answer that.
const KEEPALIVE: Duration = Duration::from_secs(20);
/// For so long a record remembers its requests, less some hours for the job's own run.
const REMEMBERED: Duration = Duration::from_secs(20 * 3600);

type Client = BulkAdministrationClient<InterceptedService<Channel, Bearer>>;

/// Adds the administration's token.
#[derive(Clone)]
struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, tonic::Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// Runs a job to its end and reports it.
///
/// # Errors
/// Where the service cannot be reached or ends, the source cannot be read, or the job was begun otherwise.
pub(super) async fn run(
    config: &Config,
    arguments: BulkIndexArguments,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let job_id = arguments.job.clone().unwrap_or_else(|| SystemRandom.nonce().to_string());
    let source =
        arguments.source.clone().or_else(|| Some(arguments.templates.as_ref()?.display().to_string()));
    let job = Job {
        tenant: arguments.tenant.clone(),
        collection: arguments.collection.clone(),
        source: source.unwrap_or_default(),
        content: arguments.templates.as_deref().map(templates::digest).transpose()?,
    };
    let mut journal = open_journal(config, &arguments, (&job_id, &job))?;
    let target = v1::BulkTarget { tenant: job.tenant, collection: job.collection, job_id: job_id.clone() };
    let client = connect(config, &target).await?;
    let bar = progress_bar();
    let _lines = output::in_lines(&bar, |count| count.to_string());
    let ran = match (&arguments.source, &arguments.templates) {
        (Some(source), _) => {
            let source = Source::open(config, source).await?;
            photos::run(client, (target, source), &mut journal, &bar).await
        }
        (None, Some(file)) => templates::run(client, (target, file), &mut journal, &bar).await,
        (None, None) => bail!("name a source"),
    };
    bar.finish_and_clear();
    journal.close()?;
    let totals = journal.totals();
    report(&journal, totals, (&job_id, json))?;
    ran.with_context(|| format!("job {job_id} broke off: go on with --job {job_id}"))?;
    if totals.failed > 0 {
        bail!("{} could not be brought in now: go on with --job {job_id}", totals.failed);
    }
    let is_fine = totals.refused == 0 || arguments.allow_refused;
    Ok(if is_fine { ExitCode::SUCCESS } else { ExitCode::from(2) })
}

/// Opens the job's journal, and says what that means where it is gone on with.
fn open_journal(
    config: &Config,
    arguments: &BulkIndexArguments,
    (job_id, job): (&str, &Job),
) -> anyhow::Result<Journal> {
    let folder = journals(config, arguments);
    let last_at_work = Journal::last_at_work(&folder, job_id);
    let journal = Journal::open(&folder, job_id, job)?;
    let again = format!("should it break off, go on with --job {job_id}");
    output::note(&format!("job {job_id}: {} answered so far; {again}", journal.totals().answered()));
    match last_at_work.map(|at| at.elapsed().unwrap_or_default()) {
        Some(ago) if ago >= REMEMBERED => output::note(&format!(
            "job {job_id} was last at work {} hours ago, and its photos are remembered for a day: one that was brought in then without \
             being answered, and whose faces were deleted since, is brought in again",
            ago.as_secs() / 3600
        )),
        None if arguments.job.is_some() => output::note(&format!(
            "{} has no journal of job {job_id}: it goes through all of its source",
            folder.display()
        )),
        _ => {}
    }
    Ok(journal)
}

fn journals(config: &Config, arguments: &BulkIndexArguments) -> PathBuf {
    match (&arguments.journal, config.data()) {
        (Some(folder), _) => folder.clone(),
        (None, Ok(data)) => data.join("bulk"),
        (None, Err(_)) => PathBuf::from("vidimus-bulk"),
    }
}

/// The first of the configured processes that is there and takes jobs; the first refusal of one that does is the answer.
async fn connect(config: &Config, target: &v1::BulkTarget) -> anyhow::Result<Client> {
    let (addresses, token) = client::whom_to_ask(config).context("no service runs")?;
    let bearer = Bearer(format!("Bearer {token}").parse().context("read the administration's token")?);
    let mut refusal = anyhow::anyhow!("admin.addresses names no process");
    for address in addresses {
        let asking = || format!("ask the service at {address}");
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE);
        let channel = match endpoint.connect().await.with_context(asking) {
            Ok(channel) => channel,
            Err(away) => {
                refusal = away;
                continue;
            }
        };
        let client = BulkAdministrationClient::with_interceptor(channel, bearer.clone());
        let mut client =
            client.max_decoding_message_size(MESSAGE_BYTES_MAX).max_encoding_message_size(MESSAGE_BYTES_MAX);
        match client.check(target.clone()).await {
            Ok(_) => return Ok(client),
            Err(status) if status.code() == Code::Unimplemented => {
                refusal = anyhow::anyhow!("{address} takes no bulk jobs: it calls no ingestion");
            }
            Err(status) => return Err(photos::said(status)),
        }
    }
    Err(refusal)
}

/// A bar on standard error.
fn progress_bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len}, {per_sec}, {eta} left {msg}");
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn report(journal: &Journal, totals: Totals, (job_id, json): (&str, bool)) -> anyhow::Result<()> {
    let refused_in = journal.refused_path();
    if json {
        let told = serde_json::json!({
            "job": job_id,
            "enrolled": totals.enrolled,
            "already_there": totals.already_there,
            "gone": totals.gone,
            "refused": totals.refused,
            "failed": totals.failed,
            "faces": totals.faces,
            "refused_in": refused_in.display().to_string(),
        });
        output::line(&serde_json::to_string(&told)?);
        return Ok(());
    }
    for (name, count) in [
        ("enrolled", totals.enrolled),
        ("already there", totals.already_there),
        ("gone since", totals.gone),
        ("refused", totals.refused),
        ("not brought in", totals.failed),
        ("faces", totals.faces),
    ] {
        output::line(&format!("{name}: {count}"));
    }
    if totals.refused > 0 {
        output::note(&format!("each refusal with its reason: {}", refused_in.display()));
        for (reason, count) in journal.reasons() {
            output::note(&format!("{count} refused: {reason}"));
        }
    }
    Ok(())
}
