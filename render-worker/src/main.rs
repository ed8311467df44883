//! The program `render-worker`: a provider on its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    render_worker::main(Vec::new(), std::env::args_os().skip(1).collect())
}
