//! What a process has used so far.

use std::time::Duration;

use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;

/// CPU time in user and system mode, of all threads (`clock_getcpuclockid(3)`).
///
/// # Panics
/// The process has ended.
pub fn cpu_time(pid: Pid) -> Duration {
    let used = clock_getcpuclockid(pid).and_then(|clock| clock.now());
    Duration::from(used.unwrap_or_else(|error| panic!("process {pid}: {error}")))
}

/// Memory that is this process's alone (unique set size: the private pages in `smaps_rollup` of `proc(5)`), in KiB.
///
/// # Panics
/// The process has ended.
pub fn own_memory(pid: Pid) -> u64 {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let fields = text.lines().filter(|line| line.starts_with("Private_") && !line.starts_with("Private_Hugetlb"));
    let sizes = fields.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    sizes.sum()
}

/// The words with which a process was started; empty when it has ended.
pub fn words(pid: Pid) -> Vec<String> {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}
