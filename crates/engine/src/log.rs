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

/// Texts that say that memory was asked for and not given.
const MEMORY_ERRORS: [&str; 7] = [
    "Out of memory",
    "out of memory",
    "out of GPU memory",
    "std::bad_alloc",
    "Malloc returns null",
    "Calloc returns null",
    "MemoryError",
];

/// Texts that mean a wrong picture although the exit status says success. 3.4 to 4.5 say nothing of a picture that is
/// missing or is none; 5.0 does.
const KNOWN_ERRORS: [&str; 6] = [
    "Warning: Unable to open",
    "Render error",
    "Error: CUDA error",
    "Missing DNA block",
    "Python script error in",
    "libpng error:",
];

/// Two texts of one line, see [`KNOWN_ERRORS`].
const KNOWN_PAIRS: [(&str, &str); 4] = [
    ("Path '", "' not found"),
    ("Image file '", "' does not exist"),
    ("Image file '", "' failed to load"),
    ("LIB: ", "' missing from '"),
];

/// Kinds of linked data that change no pixel, as Blender says that they are missing.
const WITHOUT_PIXELS: [&str; 8] = [
    "LIB: Brush:",
    "LIB: Palette:",
    "LIB: PaintCurve:",
    "LIB: Screen:",
    "LIB: Sound:",
    "LIB: Text:",
    "LIB: WindowManager:",
    "LIB: WorkSpace:",
];

/// What tells nobody why a program ended: progress, and what it says whatever happens.
const NOISE: [&str; 12] = [
    "Fra:",
    "Saved: '",
    "Time: ",
    "Read blend",
    "Read prefs",
    "Read new prefs",
    "Writing: ",
    "Blender quit",
    "Blender 3.",
    "Blender 4.",
    "Blender 5.",
    "Error: Not freed memory blocks",
];

/// The end of a log and the known errors in it.
#[derive(Debug, Default)]
pub(crate) struct Log {
    lines: VecDeque<String>,
    bytes: usize,
    errors: Vec<String>,
    /// The last command whose end has been read, for programs that mark it.
    pub(crate) command_seen: Option<u64>,
    /// Is there nothing more to come?
    pub(crate) has_ended: bool,
}

impl Log {
    /// Takes one line.
    pub(crate) fn push(&mut self, line: &str) {
        let line: String = line.trim_end().chars().take(LINE_BYTES_MAX / 4).collect();
        if line.is_empty() {
            return;
        }
        if is_known_error(&line) && self.errors.len() < ERRORS_MAX {
            self.errors.push(message(&line).to_owned());
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

    /// The one line that says most of why the program ended: its last known error, else the last that is not mere progress.
    pub(crate) fn relevant_line(&self) -> Option<&str> {
        let known = || self.lines.iter().rev().find(|line| is_known_error(line));
        let spoken = || self.lines.iter().rev().find(|line| !is_noise(line));
        known().or_else(spoken).map(|line| message(line))
    }

    /// The last line that says that memory was not given.
    pub(crate) fn memory_line(&self) -> Option<&str> {
        let line = self.lines.iter().rev().find(|line| is_of_memory(line));
        line.map(|line| message(line))
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

/// What a line says, without the time and place that 5.0 writes before it.
fn message(line: &str) -> &str {
    let begins_with_time = line.starts_with(|c: char| c.is_ascii_digit());
    let said = match line.split_once(" | ") {
        Some((_, said)) if begins_with_time => said,
        _ => line,
    };
    said.trim_start()
}

fn is_of_memory(line: &str) -> bool {
    MEMORY_ERRORS.iter().any(|known| line.contains(known))
}

fn is_known_error(line: &str) -> bool {
    let has_pair = |(first, second): &(&str, &str)| {
        let rest = line.split_once(first).map(|(_, rest)| rest);
        rest.is_some_and(|rest| rest.contains(second))
    };
    let is_known = is_of_memory(line)
        || KNOWN_ERRORS.iter().any(|known| line.contains(known))
        || KNOWN_PAIRS.iter().any(has_pair);
    is_known && !WITHOUT_PIXELS.iter().any(|kind| line.contains(kind))
}

fn is_noise(line: &str) -> bool {
    let said = message(line);
    NOISE.iter().any(|noise| said.starts_with(noise))
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
        assert!(log.relevant_line().unwrap().contains("CUDA"));
    }

    #[test]
    fn what_blender_prints_of_a_wrong_picture_is_known() {
        // As 3.4, 4.2, 4.5 and 5.0 print them.
        let known = [
            "00:00.243  cycles           | ERROR Image file '/scene/gone.png' does not exist.",
            "00:00.260  cycles           | ERROR Image file '/scene/garbage.png' failed to load.",
            "libpng error: IDAT: Read error: hit end of file in png reader",
            "Warning: Unable to open '/scene/lib.blend': No such file or directory",
            "Info: LIB: Object: 'Plane' missing from '/scene/lib.blend', parent '<direct>'",
            "Malloc returns null: len=8589934592 in Attribute data, total 26MB",
        ];
        let harmless = [
            "00:00.241  cycles           | WARNING CUEW initialization failed: Error opening the library",
            "Info: LIB: Brush: 'Draw' missing from '/scene/lib.blend', parent '<direct>'",
            "libpng warning: iCCP: known incorrect sRGB profile",
            "Info: Read library: '/scene/lib.blend', '//lib.blend', parent '<direct>'",
        ];
        for line in known {
            let mut log = Log::default();
            log.push(line);
            assert_eq!(log.take_errors().len(), 1, "{line}");
        }
        let mut log = Log::default();
        harmless.iter().for_each(|line| log.push(line));
        assert_eq!(log.take_errors(), [""; 0]);
    }

    #[test]
    fn the_relevant_line_is_neither_progress_nor_farewell() {
        let mut log = Log::default();
        assert_eq!(log.relevant_line(), None);
        for line in [
            "Fra:3 Mem:8.01M | Sample 0/4",
            "00:01.000  cycles           | ERROR no kernel for this processor",
            "Fra:3 Mem:8.01M | Sample 1/4",
            "00:02.000  render           | Saved: '/out/1.exr'",
            "Writing: blender.crash.txt",
            "Blender quit",
        ] {
            log.push(line);
        }
        let line = "ERROR no kernel for this processor";
        assert_eq!(log.relevant_line(), Some(line));
        assert_eq!(log.memory_line(), None);
    }
}
