//! What the front says on standard error: few lines, rate limited, never a secret.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::voice;
use wgmfa_core::exit::sanitise;

/// At most this many lines in one [`WINDOW`]: whoever knocks at the port must not fill the disk.
const LINES: u32 = 30;
const WINDOW: Duration = Duration::from_secs(10);

struct Window {
    began: Option<Instant>,
    lines: u32,
    left_out: u32,
}

static CURRENT: Mutex<Window> = Mutex::new(Window { began: None, lines: 0, left_out: 0 });

/// One line, unless too many were said in the last seconds.
pub fn line(text: &str) {
    let left_out = {
        let mut window = CURRENT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let now = Instant::now();
        let mut left_out = 0;
        if window.began.is_none_or(|began| now - began > WINDOW) {
            left_out = window.left_out;
            *window = Window { began: Some(now), lines: 0, left_out: 0 };
        }
        if window.lines == LINES {
            window.left_out += 1;
            return;
        }
        window.lines += 1;
        left_out
    };
    if left_out > 0 {
        voice::complain(&format!("{} front: {left_out} lines left out\n", voice::PROGRAM));
    }
    voice::complain(&format!("{} front: {}\n", voice::PROGRAM, sanitise(text).replace('\n', "?")));
}

/// A panic ends one connection; its message could hold what that connection carried, so only the place is told.
pub fn only_the_place_of_a_panic() {
    std::panic::set_hook(Box::new(|panic| match panic.location() {
        Some(place) => line(&format!("error: panic at {}:{}", place.file(), place.line())),
        None => line("error: panic"),
    }));
}
