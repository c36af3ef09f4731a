//! A program that runs beside the test, with every line it says.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wait::LONG;

/// A line and when it came.
#[derive(Debug, Clone)]
pub struct Line {
    /// When it was read.
    pub at: SystemTime,
    /// The line, without its newline.
    pub text: String,
}

/// A running program. Dropped, it is killed.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    child: Child,
    said: Arc<Said>,
}

#[derive(Debug, Default)]
struct Said {
    lines: Mutex<Vec<Line>>,
    more: Condvar,
}

impl Said {
    fn lines(&self) -> MutexGuard<'_, Vec<Line>> {
        self.lines.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn listen(self: &Arc<Self>, pipe: impl Read + Send + 'static) {
        let said = Arc::clone(self);
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
                let text = String::from_utf8_lossy(&line).into_owned();
                said.lines().push(Line { at: SystemTime::now(), text });
                said.more.notify_all();
            }
        });
    }
}

impl Daemon {
    /// Starts it.
    ///
    /// # Panics
    /// It cannot be started.
    #[track_caller]
    pub fn start(command: &mut Command) -> Self {
        let name = format!("{command:?}");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
        let said = Arc::new(Said::default());
        said.listen(child.stdout.take().expect("a pipe was asked for"));
        said.listen(child.stderr.take().expect("a pipe was asked for"));
        Self { name, child, said }
    }

    /// Every line so far.
    pub fn lines(&self) -> Vec<Line> {
        self.said.lines().clone()
    }

    /// Everything so far, as one text.
    pub fn said(&self) -> String {
        self.lines().iter().map(|line| format!("{}\n", line.text)).collect()
    }

    /// Waits for a line that satisfies `wanted`, among those from the `from`th on.
    ///
    /// # Panics
    /// It does not come within `limit`.
    #[track_caller]
    pub fn await_line_from(&self, from: usize, what: &str, limit: Duration, wanted: impl Fn(&Line) -> bool) -> Line {
        let since = Instant::now();
        let mut lines = self.said.lines();
        loop {
            if let Some(line) = lines.iter().skip(from).find(|line| wanted(line)) {
                return line.clone();
            }
            let left = limit.saturating_sub(since.elapsed());
            if left.is_zero() {
                let said: Vec<_> = lines.iter().map(|line| line.text.as_str()).collect();
                panic!("{}: waited {limit:?} in vain for {what}; it said: {said:#?}", self.name);
            }
            lines = self.said.more.wait_timeout(lines, left).unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
    }

    /// Waits for a line that contains this text.
    ///
    /// # Panics
    /// It does not come.
    #[track_caller]
    pub fn await_line(&self, text: &str) -> Line {
        self.await_line_from(0, &format!("a line with {text:?}"), LONG, |line| line.text.contains(text))
    }

    /// Its process.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let _ = kill(self.pid(), signal); // it may have ended
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    /// It does not end.
    #[track_caller]
    pub fn await_end(&mut self) -> ExitStatus {
        let name = self.name.clone();
        crate::wait::until(&format!("the end of {name}"), LONG, || self.ended())
    }

    /// Asks it to end, and waits until it has.
    ///
    /// # Panics
    /// It does not end.
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.await_end()
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprint_said(&self.name, &self.said());
        }
    }
}

/// After a failure, what the programs said is what one wants to read.
#[allow(clippy::print_stderr)]
fn eprint_said(name: &str, said: &str) {
    eprintln!("--- {name} said:\n{said}---");
}
