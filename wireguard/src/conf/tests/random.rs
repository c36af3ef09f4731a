//! Random files of each format's grammar: one key is changed, and everything else reads as before.

use super::*;

/// Lines that mean something, in odd spacing, among any bytes.
fn any_line(format: Format) -> impl Strategy<Value = Vec<u8>> {
    let space = || "[ \t\r\x0b\x0c]{0,2}";
    let words: Vec<String> = match format {
        Format::WgQuick => ["[Interface]", "[Peer]", "[pEER]", "[Other]", "PublicKey", "publickey", "PRESHARED KEY"],
        Format::Networkd => {
            ["[NetDev]", "[WireGuardPeer]", "[wireguardpeer]", "PublicKey", "presharedkey", ";", "PresharedKeyFile"]
        }
        Format::NetworkManager => [
            "[connection]",
            "[wireguard-peer.{A}]",
            "[wireguard-peer.{B}]",
            "[wireguard]",
            "preshared-key-flags",
            "[",
            "]",
        ],
    }
    .iter()
    .chain(&["PresharedKey", "preshared-key", "#", "AllowedIPs", "\u{feff}", ""])
    .map(|word| fill(word))
    .collect();
    let value = prop::sample::select(vec![A, B, OLD, "true", "10.0.0.0/8", "", "#", "0", "4", "\\", "10.0.0.0/8,\\"]);
    let made = (
        space(),
        prop::sample::select(words),
        space(),
        prop::option::of((space(), value)),
        "[ \t]{0,2}(# [a-z]{0,4})?\r?",
    )
        .prop_map(|(a, word, b, value, end)| {
            let value = value.map(|(c, value)| format!("={c}{value}")).unwrap_or_default();
            format!("{a}{word}{b}{value}{end}").into_bytes()
        });
    prop_oneof![8 => made, 1 => prop::collection::vec(any::<u8>(), 0..20)]
}

fn any_file() -> impl Strategy<Value = (Format, Vec<u8>)> {
    prop::sample::select(FORMATS.to_vec()).prop_flat_map(|format| {
        let lines = prop::collection::vec(any_line(format), 0..20);
        lines.prop_map(move |lines| (format, lines.join(&b'\n')))
    })
}

/// What a reader would take: the sections with the lines that mean something, without preshared keys and their flags.
fn without_keys(file: &ConfigFile) -> Vec<Vec<Vec<u8>>> {
    let is_key = |line: &Line| {
        let own: &[&str] = match file.format {
            Format::WgQuick => &["presharedkey"],
            Format::Networkd => &["PresharedKey"],
            Format::NetworkManager => &["preshared-key", "preshared-key-flags"],
        };
        own.iter().any(|key| line.has_key(key))
    };
    let text = |line: &Line| {
        let end = line.line_end().len();
        line.bytes()[..line.bytes().len() - end].to_vec()
    };
    let peers = |section: &section::Section| section.peer.is_some();
    file.sections
        .iter()
        .map(|section| section.lines.iter().filter(|line| !peers(section) || !is_key(line)).map(text).collect())
        .collect()
}

proptest! {
    #[test]
    fn rendering_gives_the_same_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for format in FORMATS {
            prop_assert_eq!(&*ConfigFile::parse(format, &bytes).render(), &bytes);
        }
    }

    #[test]
    fn what_was_set_is_read_and_every_other_line_stays((format, before) in any_file()) {
        let file = ConfigFile::parse(format, &before);
        prop_assert_eq!(&*file.render(), &before);
        for peer in file.peers() {
            let mut changed = file.clone();
            if changed.set_preshared_key(&peer, &key(NEW)).is_err() {
                prop_assert_eq!(&*changed.render(), &before);
                continue;
            }
            let after = changed.render();
            let read = ConfigFile::parse(format, &after);
            if file.key_files_of(&peer).is_empty() {
                prop_assert_eq!(read.preshared_key(&peer), Some(key(NEW)));
            }
            prop_assert_eq!(read.peers(), file.peers());
            for other in file.peers().iter().filter(|other| **other != peer) {
                prop_assert_eq!(read.preshared_key(other), file.preshared_key(other));
                prop_assert_eq!(read.endpoint(other), file.endpoint(other));
            }
            prop_assert_eq!(without_keys(&read), without_keys(&file));
            let has_key = |section: &section::Section| section.has_preshared_key() || section.flags().is_some();
            if !file.sections.iter().any(has_key) {
                let mut undone = file.clone();
                undone.set_preshared_key(&peer, &key(NEW)).unwrap();
                undone.remove_preshared_key(&peer).unwrap();
                prop_assert_eq!(&*undone.render(), &before);
            }
        }
    }
}
