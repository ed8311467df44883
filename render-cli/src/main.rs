//! `render`: the requestor's program. Reads a scene, buys rendering for its frames, checks, assembles and pays.

mod accounts;
mod arguments;
mod books;
mod bundle;
mod check;
mod commands;
mod conclusion;
mod cover;
mod delivery;
mod evidence;
mod evidence_list;
mod failure;
mod frames;
mod job;
mod jobs;
mod journal;
mod judging;
mod local_workers;
mod output;
mod own_engine;
mod payments;
mod payments_command;
mod peers;
mod planning;
mod preflight;
mod provider_list;
mod providers;
mod report;
mod requests;
mod resume;
mod session;
mod settlement;
mod standing;
mod thread;
mod video;

use arguments::Arguments;
use clap::Parser;
use failure::Failure;
use session::Asked;
use std::{process::ExitCode, time::Duration};

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    if words.first().is_some_and(|word| word == "worker") {
        // Local workers are this same program, so that one file is a whole installation.
        return render_worker::main(vec!["worker".into()], words.into_iter().skip(1).collect());
    }
    let first = words.first().and_then(|word| word.to_str());
    let begun = if first.is_some_and(commands::is_command) {
        commands::run()
    } else {
        let asked = Asked {
            words: words
                .iter()
                .map(|word| word.to_string_lossy().into_owned())
                .collect(),
            ..Asked::default()
        };
        Ok(Some((Arguments::parse(), asked)))
    };
    match begun {
        Ok(Some((arguments, asked))) => render(arguments, asked),
        Ok(None) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn render(arguments: Arguments, asked: Asked) -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("error,render=warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .without_time()
        .init();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            return Failure::preflight(format!("cannot start the runtime: {error}")).report();
        }
    };
    let ended = runtime.block_on(session::render(arguments, asked));
    runtime.shutdown_timeout(Duration::from_secs(1));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
