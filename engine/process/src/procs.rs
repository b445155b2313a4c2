//! The processes of this machine, as `/proc` has them: whose they are, what memory they have, and
//! how to be rid of all of a session.
//!
//! To look through all processes takes some microseconds for each. It is done where nothing else
//! will do: to measure tasks that run for long, and to end what has left its process group. There
//! is a quicker way from a process to its children, but it does not lead to those whose parent has
//! ended.

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::collections::HashSet;
use std::io;

/// Looks at the processes of a session as long as there are new ones, but no more often.
const ROUNDS_MAX: usize = 32;

/// A process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    /// Of the process that made its session, be it still there or not.
    pub(crate) session: i32,
    /// Bytes of its memory that are in memory.
    pub(crate) resident: u64,
    /// It has ended, and only its number is left.
    pub(crate) is_dead: bool,
}

/// Shows every process that this user may see.
pub(crate) fn visit(mut each: impl FnMut(Process)) -> io::Result<()> {
    for entry in std::fs::read_dir("/proc")? {
        // A process may be gone by now, and many entries are none.
        if let Ok(entry) = entry
            && let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok())
            && let Some(process) = read(pid)
        {
            each(process);
        }
    }
    Ok(())
}

/// Kills all processes of these sessions, and what they start meanwhile. Returns how many there
/// were.
pub(crate) fn kill_sessions(sessions: &HashSet<i32>) -> io::Result<usize> {
    let mut killed = HashSet::new();
    let mut found: Vec<Process> = Vec::new();
    for _ in 0..ROUNDS_MAX {
        visit(|process| {
            let is_ours = sessions.contains(&process.session) && !process.is_dead;
            if is_ours && !killed.contains(&process.pid) {
                found.push(process);
            }
        })?;
        if found.is_empty() {
            break;
        }
        for process in found.drain(..) {
            kill(process);
            killed.insert(process.pid);
        }
    }
    Ok(killed.len())
}

/// Those of these sessions in which something is left, although their first process was reaped. Who
/// has its number now is somebody else, and has a session of its own.
pub(crate) fn left_behind(sessions: &HashSet<i32>) -> io::Result<HashSet<i32>> {
    let (mut left, mut led) = (HashSet::new(), HashSet::new());
    visit(|process| {
        if !sessions.contains(&process.session) {
            return;
        }
        if process.pid == process.session {
            led.insert(process.session);
        } else if !process.is_dead {
            left.insert(process.session);
        }
    })?;
    left.retain(|session| !led.contains(session));
    Ok(left)
}

/// The session of a process.
pub(crate) fn session_of(pid: i32) -> Option<i32> {
    read(pid).map(|process| process.session)
}

/// Kills a process, and surely no other that has got its number.
fn kill(process: Process) {
    let Some(pid) = Pid::from_raw(process.pid) else { return };
    let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else { return };
    // From here on the descriptor is one process. Is it the one that was seen?
    if read(process.pid).is_some_and(|now| now.session == process.session) {
        let _ = pidfd_send_signal(&pidfd, Signal::KILL);
    }
}

fn read(pid: i32) -> Option<Process> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    parse(pid, &stat, rustix::param::page_size() as u64)
}

/// Reads `pid (name) state parent group session ... pages ...`. The name may have anything in it.
fn parse(pid: i32, stat: &[u8], page_bytes: u64) -> Option<Process> {
    let name_end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(&stat[name_end + 1..]).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let session = fields.nth(2)?.parse().ok()?;
    let pages: u64 = fields.nth(17)?.parse().ok()?;
    let is_dead = matches!(state, "Z" | "X" | "x");
    Some(Process { pid, session, resident: pages.saturating_mul(page_bytes), is_dead })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strings::CStrings;
    use crate::sys::{Orders, Spawner, Step};
    use rustix::process::{WaitId, WaitIdOptions};
    use std::io::Read as _;
    use std::os::fd::AsFd as _;

    #[test]
    fn a_process_is_read_whatever_its_name_is() {
        let numbers = "0 -1 4194304 102 0 0 0 0 0 0 0 20 0 1 0 3505639 3133440 381 18446744073";
        for name in ["cat", "a b", ") R 1 2 3 (", "\u{fc}"] {
            let stat = format!("13178 ({name}) S 13164 13165 5671 {numbers} 0 0 17 1\n");
            let process = parse(13178, stat.as_bytes(), 4096);
            let expected =
                Process { pid: 13178, session: 5671, resident: 381 * 4096, is_dead: false };
            assert_eq!(process, Some(expected), "{name}");
        }
        let stat = format!("1 (sh) Z 1 1 7 {numbers}");
        assert!(parse(1, stat.as_bytes(), 1).is_some_and(|process| process.is_dead));
        for stat in ["", "1 (cat", "1 (cat)", "1 (cat) S 1 2", "1 (cat) S 1 2 x 4"] {
            assert_eq!(parse(1, stat.as_bytes(), 1), None, "{stat}");
        }
    }

    #[test]
    fn this_process_is_among_all() {
        let me = rustix::process::getpid().as_raw_pid();
        let mut mine = None;
        visit(|process| {
            if process.pid == me {
                mine = Some(process);
            }
        })
        .expect("a /proc");
        let mine = mine.expect("this process");
        assert!(mine.resident > 0 && !mine.is_dead);
        assert_eq!(session_of(me), Some(mine.session));
    }

    #[test]
    fn a_session_without_processes_is_nothing_to_kill() {
        // No process has a negative number.
        assert_eq!(kill_sessions(&HashSet::from([-1])).expect("a /proc"), 0);
        assert!(left_behind(&HashSet::from([-1])).expect("a /proc").is_empty());
    }

    #[test]
    fn a_session_is_left_behind_when_its_first_process_is_gone_and_another_is_there() {
        // Sessions of others do not do: in a container there may be none that can be seen.
        let script = "exec 3<&0; cat <&3 >/dev/null & echo; wait";
        let (input, keep_open) = std::io::pipe().expect("a pipe");
        let (mut output, output_end) = std::io::pipe().expect("a pipe");
        let null = std::fs::File::options().write(true).open("/dev/null").expect("a file");
        let step = Step {
            paths: CStrings::of(["/bin/sh"]).expect("no NUL"),
            arguments: CStrings::of(["sh", "-c", script]).expect("no NUL"),
        };
        let first = Spawner::new()
            .spawn(&Orders {
                steps: &[step],
                environment: &CStrings::of(["PATH=/usr/bin:/bin"]).expect("no NUL"),
                directory: None,
                stdio: [input.as_fd(), output_end.as_fd(), null.as_fd()],
                dies_with_parent: true,
                files: None,
                cores: None,
            })
            .expect("a process");
        output.read_exact(&mut [0]).expect("a line when both are there");
        let session = HashSet::from([first.pid.as_raw_pid()]);
        assert!(left_behind(&session).expect("a /proc").is_empty(), "its first process is there");
        pidfd_send_signal(&first.pidfd, Signal::KILL).expect("it is there");
        rustix::process::waitid(WaitId::Pid(first.pid), WaitIdOptions::EXITED).expect("its end");
        assert_eq!(left_behind(&session).expect("a /proc"), session);
        assert_eq!(kill_sessions(&session).expect("a /proc"), 1);
        drop(keep_open);
    }
}
