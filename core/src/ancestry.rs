//! From which process another one descends, by what `/proc/PID/stat` says.
//!
//! Process ids are used again, and a process whose parent ends gets another one. So a line of ancestors is read twice:
//! a parent that is the same in both readings was the parent all the while between them, and what was read of it in that
//! time is true. (A process never gets a later one as its parent: orphans go to an older process.)

/// What is read of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Its parent's process id; 0: it has none here.
    pub parent: i32,
    /// When it was started, in clock ticks since boot.
    pub start: u64,
}

/// A line of ancestors is no longer than this.
const LONGEST: usize = 256;

impl Stat {
    /// Reads the text of `/proc/PID/stat` (proc_pid_stat(5)): fields 4 and 22. The name in field 2 is the program's own
    /// choice, and may hold blanks and brackets.
    pub fn parse(text: &str) -> Option<Self> {
        let (_, after) = text.rsplit_once(')')?;
        let mut fields = after.split_ascii_whitespace();
        let parent = fields.nth(1)?.parse().ok()?;
        let start = fields.nth(17)?.parse().ok()?;
        Some(Self { parent, start })
    }
}

/// The process ids of a line of ancestors, the process itself first, as it is while this runs. `read` says what is known
/// of a process id now. `None`: a process of the line ended meanwhile, or what was read cannot be true.
pub fn line(pid: i32, mut read: impl FnMut(i32) -> Option<Stat>) -> Option<Vec<i32>> {
    let mut seen: Vec<(i32, Stat)> = Vec::new();
    let mut next = pid;
    while next > 0 {
        let stat = read(next)?;
        let younger_than_its_child = seen.last().is_some_and(|(_, child)| child.start < stat.start);
        if younger_than_its_child || seen.len() == LONGEST {
            return None;
        }
        seen.push((next, stat));
        next = stat.parent;
    }
    let stayed = seen.iter().all(|(pid, stat)| read(*pid) == Some(*stat));
    stayed.then(|| seen.iter().map(|(pid, _)| *pid).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// (process id, parent, start) of each process.
    fn table(processes: &[(i32, i32, u64)]) -> BTreeMap<i32, Stat> {
        processes.iter().map(|&(pid, parent, start)| (pid, Stat { parent, start })).collect()
    }

    #[test]
    fn the_kernels_text_is_read_whatever_the_program_calls_itself() {
        let after = "S 41 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 123456 10 11 18446744073709551615";
        for name in ["sshd", "a) S 1 (b", ") R 1", ""] {
            let stat = Stat::parse(&format!("42 ({name}) {after}\n"));
            assert_eq!(stat, Some(Stat { parent: 41, start: 123_456 }), "{name:?}");
        }
        for text in ["", "42 (sshd", "42 (sshd) S", "42 (sshd) S x 42"] {
            assert_eq!(Stat::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_line_begins_with_the_process_and_ends_with_the_first() {
        let now = table(&[(1, 0, 0), (7, 1, 10), (9, 7, 10), (5, 9, 30)]);
        assert_eq!(line(5, |pid| now.get(&pid).copied()), Some(vec![5, 9, 7, 1]));
        assert_eq!(line(1, |pid| now.get(&pid).copied()), Some(vec![1]));
        assert_eq!(line(4, |pid| now.get(&pid).copied()), None);
    }

    #[test]
    fn a_parent_that_is_younger_than_its_child_has_another_ones_number() {
        let now = table(&[(1, 0, 0), (9, 1, 31), (5, 9, 30)]);
        assert_eq!(line(5, |pid| now.get(&pid).copied()), None);
    }

    #[test]
    fn an_orphan_is_not_taken_for_the_child_of_whoever_gets_its_parents_number() {
        let before = table(&[(1, 0, 0), (7, 1, 10), (9, 1, 20), (5, 9, 30)]);
        // 9 has ended after 5 was read; 5 belongs to 1 now, and a child of 7 is number 9
        let after = table(&[(1, 0, 0), (7, 1, 10), (9, 7, 20), (5, 1, 30)]);
        let mut readings = 0;
        let read = |pid| {
            readings += 1;
            if readings == 1 { before.get(&pid).copied() } else { after.get(&pid).copied() }
        };
        assert_eq!(line(5, read), None);
    }

    #[test]
    fn a_ring_has_an_end() {
        let ring = table(&[(5, 6, 30), (6, 5, 30)]);
        assert_eq!(line(5, |pid| ring.get(&pid).copied()), None);
    }
}
