//! What the system says of a process and those that it started, and of the memory that is left. Only Linux is asked;
//! elsewhere nothing is known.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Processes of one tree that are looked at: a wrapper starts one, a renderer hardly any.
const TREE_MAX: usize = 64;

/// What a process and those that it started use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Time of processors since they began, in the system's ticks (a hundred a second), those of children that ended included.
    pub(crate) processor_ticks: u64,
    /// Memory that they hold, swapped out or not.
    pub(crate) memory_bytes: u64,
}

/// What a process and those that it started use; none where it is gone or the system does not say.
pub(crate) fn usage(process: u32) -> Option<Usage> {
    let mut tree = vec![process];
    let mut all = usage_of_one(process)?;
    let mut at = 0;
    while let Some(parent) = tree.get(at).copied() {
        at += 1;
        for child in children(parent) {
            if tree.len() == TREE_MAX {
                return Some(all);
            }
            tree.push(child);
            let one = usage_of_one(child).unwrap_or_default();
            all.processor_ticks += one.processor_ticks;
            all.memory_bytes += one.memory_bytes;
        }
    }
    Some(all)
}

fn children(process: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else {
        return Vec::new();
    };
    let lists =
        threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("children")).ok());
    let parse = |list: String| -> Vec<u32> {
        list.split_whitespace()
            .filter_map(|id| id.parse().ok())
            .collect()
    };
    lists.flat_map(parse).collect()
}

fn usage_of_one(process: u32) -> Option<Usage> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    Some(Usage {
        processor_ticks: processor_ticks(&stat)?,
        memory_bytes: ["VmRSS:", "VmSwap:"]
            .iter()
            .filter_map(|name| kibibytes(&status, name))
            .sum(),
    })
}

/// User and system time of a process and of its children that ended. Its name comes before them, which may hold anything.
fn processor_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let times = fields.split_whitespace().skip(11).take(4);
    times.map(|ticks| ticks.parse::<u64>().ok()).sum()
}

/// The value, in bytes, of a line such as `VmRSS:   1234 kB`.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    let value: u64 = rest.split_whitespace().next()?.parse().ok()?;
    value.checked_mul(1024)
}

/// The memory of this computer, or of the part of it that a container may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory {
    /// All of it.
    pub(crate) total_bytes: u64,
    /// What programs can still have before the system swaps or ends one.
    pub(crate) left_bytes: u64,
}

/// The memory that there is and that is left.
pub(crate) fn memory() -> Option<Memory> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let whole = Memory {
        total_bytes: kibibytes(&text, "MemTotal:")?,
        left_bytes: kibibytes(&text, "MemAvailable:")?,
    };
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let parts = group_folders(&groups)
        .into_iter()
        .filter_map(|folder| memory_of_group(&folder));
    Some(parts.fold(whole, |least, part| {
        match part.left_bytes < least.left_bytes {
            true => part,
            false => least,
        }
    }))
}

/// Folders that may tell limits of this process's control groups, its own and those around it, for both interfaces.
fn group_folders(groups: &str) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        let top = match controllers {
            "" => Path::new("/sys/fs/cgroup"),
            some if some.split(',').any(|one| one == "memory") => {
                Path::new("/sys/fs/cgroup/memory")
            }
            _ => continue,
        };
        let own = top.join(path.trim_start_matches('/'));
        folders.extend(
            own.ancestors()
                .take_while(|folder| folder.starts_with(top))
                .map(Path::to_owned),
        );
    }
    folders
}

fn memory_of_group(folder: &Path) -> Option<Memory> {
    let number = |name: &str| -> Option<u64> {
        fs::read_to_string(folder.join(name))
            .ok()?
            .trim()
            .parse()
            .ok()
    };
    let limit = number("memory.max").or_else(|| number("memory.limit_in_bytes"))?;
    let used = number("memory.current").or_else(|| number("memory.usage_in_bytes"))?;
    let stat = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
    let named = |name: &str| {
        let line = stat
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.trim().parse::<u64>().ok())
    };
    // Files that were read and can be forgotten.
    let reclaimable = named("total_inactive_file")
        .or_else(|| named("inactive_file"))
        .unwrap_or(0);
    Some(Memory {
        total_bytes: limit,
        left_bytes: limit.saturating_sub(used.saturating_sub(reclaimable)),
    })
}

/// How many processes the system has ended because memory was out.
pub(crate) fn ended_for_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/vmstat").ok()?;
    let count = text
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill "))?;
    count.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_whatever_a_program_is_called() {
        let stat = "12 (a) b (c) R 1 12 12 0 -1 4194304 100 0 0 0 700 30 5 2 20 0 1 0 99 1000 50 0";
        assert_eq!(processor_ticks(stat), Some(737));
        assert_eq!(processor_ticks("12 (blender"), None);
        assert_eq!(
            kibibytes("VmPeak:\t 9 kB\nVmRSS:\t   2048 kB\n", "VmRSS:"),
            Some(2 << 20)
        );
    }

    #[test]
    fn the_groups_around_a_process_count_too() {
        let both = "4:cpu,memory:/jobs/7\n3:cpuset:/\n0::/app.slice/worker";
        let folders = [
            "/sys/fs/cgroup/memory/jobs/7",
            "/sys/fs/cgroup/memory/jobs",
            "/sys/fs/cgroup/memory",
            "/sys/fs/cgroup/app.slice/worker",
            "/sys/fs/cgroup/app.slice",
            "/sys/fs/cgroup",
        ];
        assert_eq!(group_folders(both), folders.map(PathBuf::from));
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("memory.max", "max\n");
        write("memory.current", "1000\n");
        assert_eq!(memory_of_group(folder.path()), None);
        write("memory.max", "5000\n");
        write("memory.stat", "anon 700\ninactive_file 300\n");
        let memory = Memory {
            total_bytes: 5000,
            left_bytes: 4300,
        };
        assert_eq!(memory_of_group(folder.path()), Some(memory));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_and_its_children_are_seen() {
        let own = usage(std::process::id()).unwrap();
        assert!(own.memory_bytes > 1 << 20);
        let memory = memory().unwrap();
        assert!(memory.left_bytes > 0 && memory.left_bytes <= memory.total_bytes);
        assert!(usage(u32::MAX).is_none());
    }
}
