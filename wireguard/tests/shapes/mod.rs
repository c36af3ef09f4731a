//! Configuration files in odd but legal shapes, each before and after one peer got another preshared key.
//!
//! A file of shapes has a title after each `=== `, then the text:
//!
//! - `{A}`, `{B}`, `{C}` are public keys (and, where a preshared key of somebody else is wanted, one); A is the peer that is changed;
//!   `{PRIVATE}` is a private key, `{HEAD}` what the format needs above all peers, `{PEERS}` are five hundred more, `{LONG}` is a long text.
//! - `{OLD}` is the preshared key of A before, in whose place the new one stands after; `{+…+}` is there after alone, `{-…-}` before alone,
//!   `{NEW}` is the new key. Nothing else may differ.
//! - `\r`, `\t`, `\u{feff}` and `\xNN` are bytes; `\c` at the end takes the last line's end away.
//! - In a title `[crlf]` and `[cr]` say how lines end; `[unread]` marks what its reader refuses as a whole, while it still must not be spoilt.

#![allow(dead_code)] // each test uses its part

use super::Format;
use wgmfa_core::key::PublicKey;

pub const A: &str = "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=";
pub const B: &str = "QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI=";
const C: &str = "Q0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0M=";
pub const OLD: &str = "b2xkb2xkb2xkb2xkb2xkb2xkb2xkb2xkb2xkb2xkb2w=";
pub const NEW: &str = "bmV3bmV3bmV3bmV3bmV3bmV3bmV3bmV3bmV3bmV3bmU=";
pub const PRIVATE: &str = "YLD3Xfp7pJQ2QhJXvzSxdYJxTq8eyXn1dgtq6Vd2Lks=";

/// One of them.
pub struct Shape {
    pub title: &'static str,
    pub before: Vec<u8>,
    pub after: Vec<u8>,
    /// Whether putting the old key back, or taking the new one out, gives the bytes of before.
    pub can_be_undone: bool,
    /// Whether its reader takes it.
    pub is_read: bool,
}

/// All shapes of a format.
pub fn shapes(format: Format) -> Vec<Shape> {
    let text = match format {
        Format::WgQuick => include_str!("wg-quick.txt"),
        Format::Networkd => include_str!("networkd.txt"),
        Format::NetworkManager => include_str!("networkmanager.txt"),
    };
    text.split("\n=== ").skip(1).map(|shape| read(format, shape)).collect()
}

fn read(format: Format, shape: &'static str) -> Shape {
    let (title, text) = shape.split_once('\n').unwrap();
    let text = format!("{}\n", text.strip_suffix('\n').unwrap_or(text));
    let text = text.strip_suffix("\\c\n").map(str::to_owned).unwrap_or(text);
    let text = text
        .replace("{HEAD}", head(format))
        .replace("{PEERS}", &peers(format))
        .replace("{LONG}", &"long ".repeat(1000));
    let text = text.replace("{A}", A).replace("{B}", B).replace("{C}", C).replace("{PRIVATE}", PRIVATE);
    let text = if title.contains("[crlf]") {
        text.replace('\n', "\r\n")
    } else if title.contains("[cr]") {
        text.replace('\n', "\r")
    } else {
        text
    };
    let before = without(&text, "{+", "+}").replace("{-", "").replace("-}", "").replace("{OLD}", OLD);
    let after = without(&text, "{-", "-}").replace("{+", "").replace("+}", "");
    let after = after.replace("{OLD}", NEW).replace("{NEW}", NEW);
    // what was there and was no key, or was more than a key, is not remembered
    let (had, adds, drops) = (text.contains("{OLD}"), text.contains("{+"), text.contains("{-"));
    let filled = text.contains("={+{NEW}") || text.contains("= {+{NEW}") || text.contains("+}preshared-key-flags");
    let can_be_undone = !drops && !filled && !(had && adds);
    let is_read = !title.contains("[unread]");
    Shape { title, before: bytes(&before), after: bytes(&after), can_be_undone, is_read }
}

fn without(text: &str, open: &str, close: &str) -> String {
    let mut text = text.to_owned();
    while let Some((start, rest)) = text.clone().split_once(open) {
        text = format!("{start}{}", rest.split_once(close).unwrap().1);
    }
    text
}

fn bytes(text: &str) -> Vec<u8> {
    let text = text.replace("\\r", "\r").replace("\\t", "\t").replace("\\u{feff}", "\u{feff}");
    let mut parts = text.split("\\x");
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    bytes
}

fn head(format: Format) -> &'static str {
    match format {
        Format::WgQuick => "[Interface]\nPrivateKey = {PRIVATE}\n",
        Format::Networkd => "[NetDev]\nName=wg0\nKind=wireguard\n\n[WireGuard]\nPrivateKey={PRIVATE}\n",
        Format::NetworkManager => {
            "[connection]\nid=wg0\nuuid=2e5b8a4c-52a5-4d8e-9a43-6a5c1f0e7d11\ntype=wireguard\ninterface-name=wg0\n\n\
             [wireguard]\nprivate-key={PRIVATE}\n"
        }
    }
}

fn peers(format: Format) -> String {
    let one = |number: u32| {
        let mut key = [b'p'; 32];
        key[..4].copy_from_slice(&number.to_be_bytes());
        let key = PublicKey::from_bytes(key);
        match format {
            Format::WgQuick => format!("[Peer]\nPublicKey = {key}\nPresharedKey = {B}\n"),
            Format::Networkd => format!("[WireGuardPeer]\nPublicKey={key}\nPresharedKey={B}\n"),
            Format::NetworkManager => format!("[wireguard-peer.{key}]\npreshared-key={B}\npreshared-key-flags=0\n"),
        }
    };
    (0..500).map(one).collect()
}
