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

/// CPU time of the process that asks.
pub fn own_cpu_time() -> Duration {
    cpu_time(Pid::this())
}

/// Memory of processes, in KiB: the sum of their proportional set sizes (`smaps_rollup` of `proc(5)`), in which a page that
/// several of them share counts once. Processes that have ended count nothing.
pub fn memory(pids: &[Pid]) -> f64 {
    let size = |pid: &Pid| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:")?.split_whitespace().next()?.parse().ok());
        line.unwrap_or(0.0)
    };
    pids.iter().map(size).sum()
}

/// The most memory that a process ever had, in KiB: its peak resident set size (`VmHWM` of `proc(5)`).
pub fn peak_memory(pid: Pid) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok());
    line.unwrap_or(0.0)
}

/// The words with which a process was started; empty when it has ended.
pub fn words(pid: Pid) -> Vec<String> {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}
