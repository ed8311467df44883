//! What a program that we started prints: its end is kept for error messages, and it is searched for errors
//! that Blender does not report in any other way.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Read},
};

/// Longest line that is read at once: the list of a large scene's files is one.
const READ_BYTES_MAX: u64 = 32 << 20;

/// Bytes of log that are kept.
const TAIL_BYTES_MAX: usize = 32 << 10;
/// A longer line is cut.
const LINE_BYTES_MAX: usize = 1 << 10;
/// Known errors that are kept between two commands.
const ERRORS_MAX: usize = 16;

/// Texts that mean a wrong picture although the exit status says success.
const KNOWN_ERRORS: [&str; 10] = [
    "Warning: Unable to open",
    "Render error",
    "Error: CUDA error",
    "Out of memory",
    "out of memory",
    "std::bad_alloc",
    "Malloc returns null",
    "Calloc returns null",
    "Missing DNA block",
    "Python script error in",
];

/// The end of a log and the known errors in it.
#[derive(Debug, Default)]
pub(crate) struct Log {
    lines: VecDeque<String>,
    bytes: usize,
    errors: Vec<String>,
    /// The last command whose end has been read, for programs that mark it.
    pub(crate) command_seen: Option<u64>,
}

impl Log {
    /// Takes one line.
    pub(crate) fn push(&mut self, line: &str) {
        let line: String = line.trim_end().chars().take(LINE_BYTES_MAX / 4).collect();
        if line.is_empty() {
            return;
        }
        if is_known_error(&line) && self.errors.len() < ERRORS_MAX {
            self.errors.push(line.clone());
        }
        self.bytes += line.len();
        self.lines.push_back(line);
        while self.bytes > TAIL_BYTES_MAX {
            self.bytes -= self.lines.pop_front().map_or(self.bytes, |line| line.len());
        }
    }

    /// The known errors since the last call.
    pub(crate) fn take_errors(&mut self) -> Vec<String> {
        std::mem::take(&mut self.errors)
    }

    /// The last few lines, for an error message.
    pub(crate) fn last_lines(&self, count: usize) -> String {
        let skip = self.lines.len().saturating_sub(count);
        self.lines
            .iter()
            .skip(skip)
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(" | ")
    }
}

/// Calls `each` with every line, until the pipe ends or `each` says stop.
pub(crate) fn for_lines(pipe: impl Read, mut each: impl FnMut(&str) -> bool) {
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut reader)
            .take(READ_BYTES_MAX)
            .read_until(b'\n', &mut line)
        {
            Ok(0) | Err(_) => return,
            Ok(_) if each(&String::from_utf8_lossy(&line)) => {}
            Ok(_) => return,
        }
    }
}

fn is_known_error(line: &str) -> bool {
    let lost_path = line.contains("Path '") && line.contains("' not found");
    lost_path || KNOWN_ERRORS.iter().any(|known| line.contains(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_errors_are_found_and_the_rest_is_bounded() {
        let mut log = Log::default();
        for number in 0..10_000 {
            log.push(&format!(
                "00:00.327  render           | Fra: {number} Sample 1/16"
            ));
        }
        assert!(log.bytes <= TAIL_BYTES_MAX && log.take_errors().is_empty());
        log.push("00:01.1  image | Path '/tmp/wood.png' not found");
        log.push("Error: CUDA error: Out of memory in cuMemAlloc");
        assert_eq!(log.take_errors().len(), 2);
        assert!(log.take_errors().is_empty());
        assert!(log.last_lines(1).contains("CUDA"));
    }
}
