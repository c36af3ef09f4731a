//! What comes on a channel, cut into lines.
//!
//! With a terminal the client is in raw mode and sends single keys: then Enter ends a line, Backspace takes a character
//! back, Ctrl-C interrupts, Ctrl-D on an empty line ends the input. Nothing is echoed until the keeper says so, since what
//! is asked for here is mostly secret. All this is done in the front: the keeper is spared a message for each key, and
//! the code that reads what strangers type stays where there are no rights.

use std::collections::VecDeque;

use wgmfa_core::key::SecretText;
use wgmfa_core::message::Lines;
use zeroize::Zeroizing;

/// Something that came on a channel.
#[derive(Debug)]
pub enum Event {
    /// What the terminal is to show of what was typed.
    Echo(Vec<u8>),
    /// A whole line.
    Line(SecretText),
    /// Nothing more will come.
    Ended,
    /// Ctrl-C on a terminal.
    Interrupted,
    /// What came is no line; why, in words. The channel must be closed.
    Unreadable(String),
}

/// The input of one channel.
#[derive(Debug)]
pub struct Input {
    lines: Lines,
    limit: usize,
    keys: Option<Keys>,
    ended: bool,
}

/// The line that is being typed on a terminal.
#[derive(Debug, Default)]
struct Keys {
    typed: Zeroizing<Vec<u8>>,
    after_return: bool,
    shown: bool,
}

/// Takes one character back on a terminal.
const ERASE: &[u8] = b"\x08 \x08";

/// Keys as a terminal in raw mode sends them (ASCII).
const CTRL_C: u8 = 0x03;
const CTRL_D: u8 = 0x04;
const BACKSPACE: u8 = 0x08;
const DELETE: u8 = 0x7f;

impl Input {
    /// Lines of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { lines: Lines::new(limit), limit, keys: None, ended: false }
    }

    /// Lines of at most `limit` bytes from now on.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
        self.lines.set_limit(limit);
    }

    /// From now on it comes from a terminal.
    pub fn terminal(&mut self) {
        self.keys = Some(Keys::default());
    }

    /// Whether it comes from a terminal.
    pub fn is_terminal(&self) -> bool {
        self.keys.is_some()
    }

    /// Whether a terminal shows what is typed from now on.
    pub fn echo(&mut self, shown: bool) {
        if let Some(keys) = &mut self.keys {
            keys.shown = shown;
        }
    }

    /// Takes bytes as they came.
    pub fn take(&mut self, bytes: &[u8]) -> VecDeque<Event> {
        let mut events = VecDeque::new();
        if self.ended {
            return events;
        }
        match &mut self.keys {
            None => self.lines.push(bytes),
            Some(keys) => {
                let mut echo = Vec::new();
                for &key in bytes {
                    match key {
                        CTRL_C => events.push_back(Event::Interrupted),
                        CTRL_D if keys.typed.is_empty() => self.ended = true,
                        CTRL_D => {}
                        BACKSPACE | DELETE => {
                            if keys.shown && !keys.typed.is_empty() {
                                echo.extend_from_slice(ERASE);
                            }
                            while keys.typed.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
                        }
                        b'\n' if keys.after_return => {}
                        b'\r' | b'\n' => {
                            self.lines.push(&keys.typed);
                            self.lines.push(b"\n");
                            keys.typed = Zeroizing::default();
                            echo.extend_from_slice(b"\r\n");
                        }
                        other => {
                            keys.typed.push(other);
                            // no control character: it may be part of an escape sequence
                            if keys.shown && other >= b' ' {
                                echo.push(other);
                            }
                        }
                    }
                    keys.after_return = key == b'\r';
                }
                // the limit also holds for a line that is never ended
                if keys.typed.len() > self.limit {
                    self.lines.push(&keys.typed);
                }
                if !echo.is_empty() {
                    events.push_back(Event::Echo(echo));
                }
            }
        }
        self.drain(&mut events);
        if self.ended {
            events.push_back(Event::Ended);
        }
        events
    }

    /// The client will send nothing more; a last line may lack its newline.
    pub fn end(&mut self) -> VecDeque<Event> {
        let mut events = VecDeque::new();
        if !self.ended {
            self.ended = true;
            if !self.lines.rest().is_empty() {
                self.lines.push(b"\n");
                self.drain(&mut events);
            }
            events.push_back(Event::Ended);
        }
        events
    }

    fn drain(&mut self, events: &mut VecDeque<Event>) {
        loop {
            match self.lines.next_line() {
                Ok(None) => return,
                Ok(Some(line)) => match String::from_utf8(line) {
                    Ok(line) => events.push_back(Event::Line(SecretText::new(line))),
                    Err(error) => {
                        drop(Zeroizing::new(error.into_bytes()));
                        return events.push_back(Event::Unreadable("input is not UTF-8".into()));
                    }
                },
                Err(error) => return events.push_back(Event::Unreadable(error.to_string())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(events: VecDeque<Event>) -> Vec<String> {
        events
            .into_iter()
            .map(|event| match event {
                Event::Echo(bytes) => format!("shows {:?}", String::from_utf8(bytes).unwrap()),
                Event::Line(line) => format!("line {}", line.expose()),
                Event::Ended => "ended".into(),
                Event::Interrupted => "interrupted".into(),
                Event::Unreadable(why) => why,
            })
            .collect()
    }

    #[test]
    fn lines_come_whole_and_the_last_one_may_lack_its_newline() {
        let mut input = Input::new(8);
        assert_eq!(told(input.take(b"ab\ncd")), ["line ab"]);
        assert_eq!(told(input.end()), ["line cd", "ended"]);
        assert!(told(input.end()).is_empty());
        assert!(told(input.take(b"late\n")).is_empty());
    }

    #[test]
    fn what_is_too_long_or_not_utf_8_is_named() {
        assert_eq!(told(Input::new(4).take(b"abcde")), ["a line is longer than 4 bytes"]);
        assert_eq!(told(Input::new(4).take(b"\xff\n")), ["input is not UTF-8"]);
        let mut typed = Input::new(4);
        typed.terminal();
        assert_eq!(told(typed.take(b"abcde")), ["a line is longer than 4 bytes"]);
    }

    #[test]
    fn keys_of_a_terminal_make_lines() {
        let mut input = Input::new(64);
        input.terminal();
        assert!(told(input.take("secre\u{e4}".as_bytes())).is_empty());
        let newlines = "shows \"\\r\\n\\r\\n\"";
        assert_eq!(told(input.take(b"\x7ft\r\n\r")), [newlines, "line secret", "line "]);
        assert_eq!(told(input.take(b"\x03")), ["interrupted"]);
        assert_eq!(told(input.take(b"\x04")), ["ended"]);
    }

    #[test]
    fn a_terminal_shows_what_is_typed_only_where_it_was_asked_to() {
        let mut input = Input::new(64);
        input.terminal();
        assert!(told(input.take(b"hidden")).is_empty());
        assert_eq!(told(input.take(b"\r")), ["shows \"\\r\\n\"", "line hidden"]);
        input.echo(true);
        assert_eq!(told(input.take(b"12")), ["shows \"12\""]);
        assert_eq!(told(input.take(b"\x7f3\x1b\r")), ["shows \"\\u{8} \\u{8}3\\r\\n\"", "line 13\u{1b}"]);
        assert!(told(input.take(b"\x08")).is_empty(), "there is nothing to take back");
    }
}
