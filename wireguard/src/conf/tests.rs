use proptest::prelude::*;

use super::*;

const A: &str = "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=";
const B: &str = "QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI=";
const OLD: &str = "b2xkb2xkb2xkb2xkb2xkb2xkb2xkb2xkb2xkb2xkb2w=";
const NEW: &str = "bmV3bmV3bmV3bmV3bmV3bmV3bmV3bmV3bmV3bmV3bmU=";

/// Odd but legal files: `{A}`, `{B}` stand for public keys, `{OLD}` for A's preshared key, `{+…+}` for a line that is added to
/// a file where A has none. Shared with the test that asks `wg` and `wg-quick` themselves.
const SHAPES: &str = include_str!("../../tests/shapes/conf.txt");

fn fill(text: &str) -> String {
    text.replace("{A}", A).replace("{B}", B)
}

fn key(text: &str) -> PresharedKey {
    text.parse().unwrap()
}

fn peer(text: &str) -> PublicKey {
    text.parse().unwrap()
}

/// Before and after of each shape, with its title.
fn shapes() -> Vec<(&'static str, String, String)> {
    SHAPES
        .split("\n=== ")
        .skip(1)
        .map(|shape| {
            let (title, text) = shape.split_once('\n').unwrap();
            let text =
                fill(&format!("{text}\n")).replace("\\r", "\r").replace("\\t", "\t").replace("\\u{feff}", "\u{feff}");
            let text = text.strip_suffix("\\c\n").map(str::to_owned).unwrap_or(text);
            let after = text.replace("{OLD}", NEW).replace("{+", "").replace("+}", "").replace("{NEW}", NEW);
            let mut before = text.replace("{OLD}", OLD);
            while let Some((start, rest)) = before.clone().split_once("{+") {
                before = format!("{start}{}", rest.split_once("+}").unwrap().1);
            }
            (title, before, after)
        })
        .collect()
}

#[test]
fn only_the_bytes_of_the_preshared_key_change() {
    let shapes = shapes();
    assert!(shapes.len() >= 15, "{}", shapes.len());
    for (title, before, after) in shapes {
        let mut file = ConfigFile::parse(before.as_bytes());
        assert_eq!(*file.render(), before.as_bytes(), "{title}");
        assert!(file.peers().contains(&peer(A)), "{title}");
        let had = file.preshared_key(&peer(A));
        file.set_preshared_key(&peer(A), &key(NEW)).unwrap();
        assert_eq!(String::from_utf8_lossy(&file.render()), after, "{title}");
        assert_eq!(file.preshared_key(&peer(A)), Some(key(NEW)), "{title}");
        assert_eq!(ConfigFile::parse(&file.render()).preshared_key(&peer(A)), Some(key(NEW)), "{title}");
        match had {
            Some(old) => file.set_preshared_key(&peer(A), &old).unwrap(),
            None => file.remove_preshared_key(&peer(A)).unwrap(),
        }
        assert_eq!(String::from_utf8_lossy(&file.render()), before, "{title}");
    }
}

#[test]
fn an_unknown_peer_is_refused_and_nothing_is_added() {
    let before = fill("[Peer]\nPublicKey = {A}\n# PublicKey = {B}\n[Other]\nPublicKey = {B}\n");
    let mut file = ConfigFile::parse(before.as_bytes());
    assert_eq!(file.set_preshared_key(&peer(B), &key(NEW)), Err(UnknownPeer(peer(B))));
    assert_eq!(file.remove_preshared_key(&peer(B)), Err(UnknownPeer(peer(B))));
    assert_eq!(file.preshared_key(&peer(B)), None);
    assert_eq!(file.peers(), [peer(A)]);
    assert_eq!(*file.render(), before.as_bytes());
    assert_eq!(UnknownPeer(peer(B)).to_string(), format!("no [Peer] with PublicKey = {B}"));
}

#[test]
fn a_later_section_of_the_same_peer_counts_as_wg_setconf_counts() {
    let file = |text: &str| ConfigFile::parse(text.replace("{A}", A).replace("{OLD}", OLD).as_bytes());
    assert_eq!(
        file("[Peer]\nPublicKey={A}\nPresharedKey={OLD}\n[Peer]\nPublicKey={A}\n").preshared_key(&peer(A)),
        None
    );
    let file = file("[Peer]\nPublicKey={A}\n[Peer]\nPublicKey={A}\nPresharedKey={OLD}\n");
    assert_eq!(file.preshared_key(&peer(A)), Some(key(OLD)));
    assert_eq!(file.peers(), [peer(A)]);
}

#[test]
fn save_config_is_seen_where_wg_quick_sees_it() {
    for (text, seen) in [
        ("[Interface]\nSaveConfig = true\n", true),
        ("[interface]\r\nsaveconfig=TRUE # on\r\n", true),
        ("[Interface]\nSaveConfig = true\nSaveConfig = false\n", false),
        ("[Interface]\n#SaveConfig = true\n", false),
        ("[Interface]\n[Peer]\nSaveConfig = true\n", false),
        ("[Interface]\nSaveConfig = false\n", false),
        ("", false),
    ] {
        assert_eq!(ConfigFile::parse(text.as_bytes()).save_config(), seen, "{text}");
    }
}

#[test]
fn a_configuration_file_shows_itself_to_nobody() {
    let file = ConfigFile::parse(b"[Interface]\nPrivateKey = hunter2\n");
    assert_eq!(format!("{file:?}"), "ConfigFile(hidden)");
}

/// Lines that mean something, in odd spacing, among any bytes.
fn any_line() -> impl Strategy<Value = Vec<u8>> {
    let space = || "[ \t\r\x0b\x0c]{0,2}";
    let word = prop::sample::select(vec![
        "[Interface]",
        "[Peer]",
        "[pEER]",
        "[Other]",
        "PublicKey",
        "publickey",
        "PresharedKey",
        "PRESHARED KEY",
        "#",
        "SaveConfig",
        "AllowedIPs",
        "\u{feff}",
        "",
    ]);
    let value = prop::sample::select(vec![A, B, OLD, "true", "10.0.0.0/8", "", "#"]);
    let made = (space(), word, space(), prop::option::of((space(), value)), "[ \t]{0,2}(# [a-z]{0,4})?\r?").prop_map(
        |(a, word, b, value, end)| {
            let value = value.map(|(c, value)| format!("={c}{value}")).unwrap_or_default();
            format!("{a}{word}{b}{value}{end}").into_bytes()
        },
    );
    prop_oneof![8 => made, 1 => prop::collection::vec(any::<u8>(), 0..20)]
}

proptest! {
    #[test]
    fn rendering_gives_the_same_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(&*ConfigFile::parse(&bytes).render(), &bytes);
    }

    #[test]
    fn what_was_set_is_read_and_every_other_line_stays(lines in prop::collection::vec(any_line(), 0..20)) {
        let before = lines.join(&b'\n');
        let file = ConfigFile::parse(&before);
        prop_assert_eq!(&*file.render(), &before);
        for peer in file.peers() {
            let mut changed = file.clone();
            changed.set_preshared_key(&peer, &key(NEW)).unwrap();
            let after = changed.render();
            let read = ConfigFile::parse(&after);
            prop_assert_eq!(read.preshared_key(&peer), Some(key(NEW)));
            prop_assert_eq!(read.peers(), file.peers());
            for other in file.peers().iter().filter(|other| **other != peer) {
                prop_assert_eq!(read.preshared_key(other), file.preshared_key(other));
            }
            let mut rest = after.split(|byte| *byte == b'\n').filter(|line| !contains(line, NEW));
            for line in before.split(|byte| *byte == b'\n').filter(|line| !is_preshared_key(line)) {
                let same = |found: &&[u8]| trim_end(found) == trim_end(line);
                prop_assert!(rest.any(|found| same(&found)), "lost: {:?}", String::from_utf8_lossy(line));
            }
            let none = file.sections.iter().all(|section| section.value("presharedkey").is_none());
            if none {
                let mut undone = file.clone();
                undone.set_preshared_key(&peer, &key(NEW)).unwrap();
                undone.remove_preshared_key(&peer).unwrap();
                prop_assert_eq!(&*undone.render(), &before);
            }
        }
    }
}

fn contains(line: &[u8], text: &str) -> bool {
    line.windows(text.len()).any(|window| window == text.as_bytes())
}

fn is_preshared_key(line: &[u8]) -> bool {
    Line::parse(line).has_key("presharedkey")
}

fn trim_end(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[test]
fn the_endpoint_of_a_peer_is_read_as_it_is_written() {
    let text = fill("[Peer]\nPublicKey = {A}\nendpoint=[fd00::1]:51820 # here\n[Peer]\nPublicKey = {B}\nEndpoint =\n");
    let file = ConfigFile::parse(text.as_bytes());
    assert_eq!(file.endpoint(&peer(A)).as_deref(), Some("[fd00::1]:51820"));
    assert_eq!((file.endpoint(&peer(B)), file.endpoint(&peer(OLD))), (None, None));
    let again =
        ConfigFile::parse(fill("[Peer]\nPublicKey = {A}\nEndpoint = gw:1\n[Peer]\nPublicKey = {A}\n").as_bytes());
    assert_eq!(again.endpoint(&peer(A)).as_deref(), Some("gw:1"), "a later section without one leaves it");
}
