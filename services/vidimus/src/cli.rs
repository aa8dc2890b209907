//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::admin::AdminArguments;
use crate::doctor::DoctorArguments;
use crate::evaluate::EvaluateArguments;
use crate::models::ModelsArguments;
use crate::roles::Role;

/// Self-hosted, multi-tenant face-collection search that speaks the protocol of Amazon Rekognition's face collections.
///
/// Point any AWS SDK at it with `endpoint_url`; make a tenant and a key for it with `vidimus admin`.
#[derive(Debug, Parser)]
#[command(name = "vidimus", version, propagate_version = true)]
pub struct Cli {
    /// Where settings come from.
    #[command(flatten)]
    pub settings: Settings,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Where settings come from: defaults < file < environment (VIDIMUS__SECTION__NAME) < these flags.
#[derive(Clone, Debug, Default, Args)]
pub struct Settings {
    /// Configuration file (TOML).
    #[arg(long, global = true, env = "VIDIMUS_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Data directory: blobs, log, index, models and keys lie under it unless the configuration says otherwise.
    #[arg(long, global = true, env = "VIDIMUS_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Models directory (default: `models` in the data directory).
    #[arg(long, global = true, env = "VIDIMUS_MODELS", value_name = "DIR")]
    pub models: Option<PathBuf>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the service, or some of its roles.
    Serve(ServeArguments),
    /// Make and change tenants and access keys; reconcile.
    Admin(AdminArguments),
    /// Import, list and verify face models.
    Models(ModelsArguments),
    /// Measure accuracy on a folder of labelled photos.
    Evaluate(EvaluateArguments),
    /// Say what is wrong with a configuration, a directory or a model, and what mends it.
    Doctor(DoctorArguments),
}

/// Flags of `serve`.
#[derive(Clone, Debug, Default, Args)]
pub struct ServeArguments {
    /// Address for tenants (AWS-JSON); port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// Address for operators (/livez, /readyz, /metrics, administration); port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS")]
    pub operators: Option<SocketAddr>,
    /// Roles of this process (default: all that the configuration does not say are elsewhere).
    #[arg(long, value_delimiter = ',', value_name = "ROLE,…")]
    pub roles: Vec<Role>,
    /// Address for the roles of other processes; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS")]
    pub listen_roles: Option<SocketAddr>,
    /// When ready, write the bound addresses and the process id to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
    /// Print the configuration as it would be used, secrets left out, and end.
    #[arg(long)]
    pub dump_config: bool,
}
