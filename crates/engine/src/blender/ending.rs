//! Why a Blender process ended that should not have: crashed, killed, out of memory, or by its own decision.

use super::watch::Watch;
use crate::log::Log;
use std::process::ExitStatus;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// By this signal.
    Signal(i32),
    /// With this status.
    Exit(i32),
    /// Nobody knows.
    Unknown,
}

/// One line for a person.
pub(super) fn told(status: Option<ExitStatus>, log: &Log, watch: &Watch) -> String {
    let held = watch.held();
    describe(end(status), log, &held, watch.was_memory_out())
}

fn end(status: Option<ExitStatus>) -> End {
    #[cfg(unix)]
    if let Some(signal) =
        status.and_then(|status| std::os::unix::process::ExitStatusExt::signal(&status))
    {
        return End::Signal(signal);
    }
    status
        .and_then(|status| status.code())
        .map_or(End::Unknown, End::Exit)
}

fn describe(end: End, log: &Log, held: &str, was_memory_out: bool) -> String {
    if let Some(line) = log.memory_line() {
        return format!("out of memory: Blender held {held}; it printed: {line}");
    }
    let name = |signal| match signal {
        4 => "SIGILL".to_owned(),
        6 => "SIGABRT".into(),
        7 => "SIGBUS".into(),
        8 => "SIGFPE".into(),
        11 => "SIGSEGV".into(),
        other => format!("signal {other}"),
    };
    let why = match end {
        End::Signal(9) if was_memory_out => {
            return format!("out of memory: the system ended Blender, which held {held}");
        }
        End::Signal(9) => "Blender was killed by somebody (SIGKILL)".to_owned(),
        End::Signal(signal @ (1 | 2 | 3 | 15)) => {
            format!("Blender was asked to end by somebody (signal {signal})")
        }
        End::Signal(signal) => format!("Blender crashed ({})", name(signal)),
        End::Exit(status) => format!("Blender ended by itself (exit status {status})"),
        End::Unknown => "Blender ended".into(),
    };
    match log.relevant_line() {
        Some(line) => format!("{why}; the last it printed: {line}"),
        None => why,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crash_kill_and_want_of_memory_are_told_apart() {
        let mut log = Log::default();
        log.push("Fra:1 Mem:20.00M | Sample 3/4096");
        let told = |signal, log: &Log, was_memory_out| {
            describe(End::Signal(signal), log, "3.00 GiB", was_memory_out)
        };
        assert_eq!(
            told(9, &log, false),
            "Blender was killed by somebody (SIGKILL)"
        );
        assert_eq!(
            told(9, &log, true),
            "out of memory: the system ended Blender, which held 3.00 GiB"
        );
        log.push("ERROR (gpu.shader): no such thing");
        assert_eq!(
            told(11, &log, true),
            "Blender crashed (SIGSEGV); the last it printed: ERROR (gpu.shader): no such thing"
        );
        log.push("terminate called after throwing an instance of 'std::bad_alloc'");
        log.push("  what():  std::bad_alloc");
        assert_eq!(
            told(6, &log, false),
            "out of memory: Blender held 3.00 GiB; it printed: what():  std::bad_alloc"
        );
        let quiet = Log::default();
        assert_eq!(
            describe(End::Exit(0), &quiet, "", false),
            "Blender ended by itself (exit status 0)"
        );
    }
}
