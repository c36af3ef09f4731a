//! Whether something keeps this machine's clock right, as the kernel knows it: for `check` in every program.

use nix::libc;

/// Whether a time service says that it keeps the clock right (`STA_UNSYNC` of adjtimex(2) is off). Needs no right and no
/// particular time service. `None`: the kernel does not tell, as in a sandbox without clock system calls.
pub fn is_synchronised() -> Option<bool> {
    status().map(|(state, status)| says_synchronised(state, status))
}

fn says_synchronised(state: libc::c_int, status: libc::c_int) -> bool {
    state != libc::TIME_ERROR && status & libc::STA_UNSYNC == 0
}

/// What adjtimex(2) returns, and the status bits.
#[allow(unsafe_code)]
fn status() -> Option<(libc::c_int, libc::c_int)> {
    // SAFETY: `timex` is plain numbers, so all zeroes are a value of it; with `modes` zero the call only reads the clock's
    // state into the structure that it is given, which lives until it returns.
    let (state, timex) = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&mut timex), timex)
    };
    (state >= 0).then_some((state, timex.status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_nobody_keeps_right_is_not_synchronised() {
        assert!(says_synchronised(libc::TIME_OK, libc::STA_PLL));
        assert!(!says_synchronised(libc::TIME_ERROR, libc::STA_UNSYNC));
        assert!(!says_synchronised(libc::TIME_OK, libc::STA_PLL | libc::STA_UNSYNC));
    }

    #[test]
    fn the_kernel_can_be_asked_without_any_right() {
        assert!(status().is_some());
    }
}
