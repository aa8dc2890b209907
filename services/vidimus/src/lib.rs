//! The binary as a library: its commands, its configuration, and how the roles are wired to the adapters. Tests start a
//! service with it whose ports they have wrapped.

pub mod adapters;
pub mod admin;
pub mod backup;
mod baseline;
pub mod cli;
pub mod config;
pub mod doctor;
pub mod evaluate;
mod keys;
pub mod models;
mod operators;
pub mod output;
pub mod roles;
pub mod serve;
pub mod telemetry;

use std::process::ExitCode;

use anyhow::Context;
use cli::{Cli, Command};
use config::Config;
use telemetry::Telemetry;
use vidimus_runtime::telemetry::LogFormat;

/// Runs a command. Its failure is said on standard error, with what caused it.
#[must_use]
pub fn run(cli: Cli) -> ExitCode {
    match dispatch(cli) {
        Ok(code) => code,
        Err(error) => {
            output::error(&error);
            ExitCode::FAILURE
        }
    }
}

fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    let config = || Config::load(&cli.settings);
    match cli.command {
        Command::Serve(arguments) => {
            let config = config()?.with_serve(&arguments);
            config.check()?;
            if arguments.dump_config {
                output::line(&config.dump()?);
                return Ok(ExitCode::SUCCESS);
            }
            runtime()?.block_on(async {
                let telemetry = Telemetry::begin(&config)?;
                let served = Box::pin(serve::serve(config, arguments.ready_file, Ok)).await;
                telemetry.end().await;
                served
            })?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Admin(arguments) => {
            let config = config()?;
            vidimus_runtime::telemetry::begin("warn", LogFormat::Text)?;
            runtime()?.block_on(admin::run(&config, arguments))
        }
        Command::Models(arguments) => {
            models::run(
                &vidimus_onnx::ModelStore::new(config()?.models_directory()?),
                &arguments,
                &mut std::io::stdout(),
            )?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Evaluate(arguments) => {
            let config = config()?;
            let deps = evaluate::EvaluateDeps {
                model: adapters::load_model(&config)?,
                runtime: vidimus_onnx::OnnxRuntime::load(&adapters::runtime_path(&config)?)?,
                encoder: config.encoder,
            };
            runtime()?.block_on(evaluate::run(deps, arguments, &mut std::io::stdout()))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Doctor(arguments) => runtime()?.block_on(doctor::run(&config()?, &arguments)),
    }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the async runtime")
}
