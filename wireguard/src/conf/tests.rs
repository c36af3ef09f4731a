use proptest::prelude::*;
use wgmfa_core::key::{PresharedKey, PublicKey};

use super::line::Line;
use super::*;

mod random;
#[path = "../../tests/shapes/mod.rs"]
mod shapes;

use shapes::{A, B, NEW, OLD, shapes};

const FORMATS: [Format; 3] = [Format::WgQuick, Format::Networkd, Format::NetworkManager];

fn fill(text: &str) -> String {
    text.replace("{A}", A).replace("{B}", B).replace("{OLD}", OLD)
}

fn key(text: &str) -> PresharedKey {
    text.parse().unwrap()
}

fn peer(text: &str) -> PublicKey {
    text.parse().unwrap()
}

fn parse(format: Format, text: &str) -> ConfigFile {
    ConfigFile::parse(format, fill(text).as_bytes())
}

#[test]
fn only_the_bytes_of_the_preshared_key_change() {
    for format in FORMATS {
        let shapes = shapes(format);
        assert!(shapes.len() >= 40, "{format:?}: {}", shapes.len());
        for shape in shapes {
            let title = format!("{format:?}: {}", shape.title);
            let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let mut file = ConfigFile::parse(format, &shape.before);
            assert_eq!(*file.render(), shape.before, "{title}");
            assert!(file.peers().contains(&peer(A)), "{title}");
            let had = file.preshared_key(&peer(A));
            file.set_preshared_key(&peer(A), &key(NEW)).unwrap();
            assert_eq!(shown(&file.render()), shown(&shape.after), "{title}");
            assert_eq!(*file.render(), shape.after, "{title}");
            assert_eq!(file.preshared_key(&peer(A)), Some(key(NEW)), "{title}");
            let read = ConfigFile::parse(format, &file.render());
            assert_eq!(read.preshared_key(&peer(A)), Some(key(NEW)), "{title}");
            match had {
                Some(old) => file.set_preshared_key(&peer(A), &old).unwrap(),
                None => file.remove_preshared_key(&peer(A)).unwrap(),
            }
            assert_eq!(*file.render() == shape.before, shape.can_be_undone, "{title}: {}", shown(&file.render()));
        }
    }
}

#[test]
fn an_unknown_peer_is_refused_and_nothing_is_added() {
    for (format, before, expected) in [
        (
            Format::WgQuick,
            "[Peer]\nPublicKey = {A}\n# PublicKey = {B}\n[Other]\nPublicKey = {B}\n",
            format!("no [Peer] with PublicKey = {B}"),
        ),
        (
            Format::Networkd,
            "[WireGuardPeer]\nPublicKey={A}\n;PublicKey={B}\n[Peer]\nPublicKey={B}\n",
            format!("no [WireGuardPeer] with PublicKey={B}"),
        ),
        (
            Format::NetworkManager,
            "[wireguard-peer.{A}]\n#[wireguard-peer.{B}]\n[peer]\n",
            format!("no [wireguard-peer.{B}]"),
        ),
    ] {
        let before = fill(before);
        let mut file = parse(format, &before);
        let refused = file.set_preshared_key(&peer(B), &key(NEW)).unwrap_err();
        assert_eq!((refused.to_string(), refused.line()), (expected, None));
        assert_eq!(file.remove_preshared_key(&peer(B)), Err(refused));
        assert_eq!(file.preshared_key(&peer(B)), None);
        assert_eq!(file.peers(), [peer(A)]);
        assert_eq!(*file.render(), before.as_bytes());
    }
}

#[test]
fn what_cannot_be_changed_is_refused_with_its_line() {
    let networkd = "[NetDev]\nName=wg0\n[WireGuardPeer]\nAllowedIPs=10.0.0.0/8,\\\n10.1.0.0/16\nPublicKey={A}\n";
    let manager = "[connection]\n[wireguard-peer.{A}]\n";
    for (format, text, expected) in [
        (Format::Networkd, format!("{networkd}PresharedKey=@laptop\n"), NotSet::Credential(7)),
        (Format::Networkd, format!("{networkd}PresharedKey=\\\n# Monday\n{{OLD}}\n"), NotSet::CommentInside(7)),
        (Format::Networkd, format!("{networkd}PresharedKey={{OLD}}\\\n# Monday"), NotSet::CommentInside(7)),
        (Format::NetworkManager, format!("{manager}preshared-key-flags=1\n"), NotSet::AskedFor(3)),
        (
            Format::NetworkManager,
            format!("{manager}# x\npreshared-key={{OLD}}\npreshared-key-flags=0x2"),
            NotSet::AskedFor(5),
        ),
        (Format::NetworkManager, format!("{manager}preshared-key-flags=7"), NotSet::AskedFor(3)),
    ] {
        let text = fill(&text);
        let mut file = parse(format, &text);
        let refused = file.set_preshared_key(&peer(A), &key(NEW)).unwrap_err();
        assert!(!refused.to_string().contains(OLD) && !refused.hint().is_empty());
        assert_eq!(refused, expected, "{text}");
        assert_eq!(*file.render(), text.as_bytes());
    }
}

#[test]
fn each_reader_has_its_own_rule_for_a_peer_that_stands_twice() {
    for (format, text, expected) in [
        (Format::WgQuick, "[Peer]\nPublicKey={A}\nPresharedKey={OLD}\n[Peer]\nPublicKey={A}\n", None),
        (Format::WgQuick, "[Peer]\nPublicKey={A}\n[Peer]\nPublicKey={A}\nPresharedKey={OLD}\n", Some(key(OLD))),
        (
            Format::Networkd,
            "[WireGuardPeer]\nPublicKey={A}\nPresharedKey={OLD}\n[WireGuardPeer]\nPublicKey={A}\n",
            Some(key(OLD)),
        ),
        (
            Format::Networkd,
            "[WireGuardPeer]\nPublicKey={A}\n[WireGuardPeer]\nPublicKey={A}\nPresharedKey={OLD}\n",
            None,
        ),
        (
            Format::NetworkManager,
            "[wireguard-peer.{A}]\npreshared-key={OLD}\n[wireguard-peer.{A}]\nendpoint=\n",
            Some(key(OLD)),
        ),
    ] {
        let file = parse(format, text);
        assert_eq!(file.preshared_key(&peer(A)), expected, "{text}");
        assert_eq!((file.peers(), file.lines_of(&peer(A)).len()), (vec![peer(A)], 2));
    }
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
        assert_eq!(parse(Format::WgQuick, text).save_config(), seen, "{text}");
    }
}

#[test]
fn a_configuration_file_shows_itself_to_nobody() {
    let file = parse(Format::WgQuick, "[Interface]\nPrivateKey = hunter2\n");
    assert_eq!(format!("{file:?}"), "ConfigFile(hidden)");
}

#[test]
fn the_endpoint_of_a_peer_is_read_as_it_is_written() {
    let file = parse(
        Format::WgQuick,
        "[Peer]\nPublicKey = {A}\nendpoint=[fd00::1]:51820 # here\n[Peer]\nPublicKey = {B}\nEndpoint =\n",
    );
    assert_eq!(file.endpoint(&peer(A)).as_deref(), Some("[fd00::1]:51820"));
    assert_eq!((file.endpoint(&peer(B)), file.endpoint(&peer(OLD))), (None, None));
    let again = parse(Format::WgQuick, "[Peer]\nPublicKey = {A}\nEndpoint = gw:1\n[Peer]\nPublicKey = {A}\n");
    assert_eq!(again.endpoint(&peer(A)).as_deref(), Some("gw:1"), "a later section without one leaves it");
    let networkd = parse(Format::Networkd, "[WireGuardPeer]\nPublicKey={A}\nEndpoint=\\\n gw:1 \n");
    assert_eq!(networkd.endpoint(&peer(A)).as_deref(), Some("gw:1"));
    let manager = parse(Format::NetworkManager, "[wireguard-peer.{A}]\nendpoint= gw:1\n");
    assert_eq!(manager.endpoint(&peer(A)).as_deref(), Some("gw:1"));
}

#[test]
fn lines_are_counted_as_an_editor_counts_them() {
    let text = "\u{feff}# one\r\n\r\n[X]\nA=b\\\n c\n\n[WireGuardPeer]\nPublicKey={A}\n";
    assert_eq!(parse(Format::Networkd, text).lines_of(&peer(A)), [7]);
    assert_eq!(parse(Format::NetworkManager, "\n\n#\n[wireguard-peer.{A}]").lines_of(&peer(A)), [4]);
}
