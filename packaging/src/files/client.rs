//! `client.toml`

use crate::keys::{File, Key, Table};

/// What a person would otherwise type each time.
pub const CLIENT: File = File {
    name: "client.toml",
    page: "wgmfa-client.toml",
    is_sampled: true,
    title: "defaults of wgmfa",
    path: "/etc/wgmfa/client.toml, ~/.config/wgmfa/client.toml",
    head: "The site's defaults for wgmfa(1); a person's ~/.config/wgmfa/client.toml goes over them, key by key.",
    description: &[
        "What people would otherwise type each time, in TOML: the site's file, and over it, key by key, the person's own. \
         Nobody but root and the person may write them, and behind sudo(8) the person's own is read with the person's rights. An unknown key is a fault. Every key may be left out, and what stands \
         on the command line goes before both.",
    ],
    tables: &[Table {
        header: "",
        sample: "",
        text: "",
        keys: &[
            Key::optional(
                "bastion",
                "[user@]host, or ssh://[user@]host[:port]",
                r#""ssh://bastion.example.net:2222""#,
                "sync must be told",
                "Where to log in, as in ssh(1).",
            ),
            Key::optional(
                "gateway",
                "HOST, HOST:PORT, an address or [IPV6]:PORT",
                r#""10.0.0.1""#,
                "it is found by the interface's peers and networks",
                "The gateway to which wgmfa code gives one-time codes.",
            ),
            Key::optional("interface", "name", r#""wg0""#, "all that the keys fit", "Only this interface."),
            Key::new(
                "save",
                "true or false",
                "false",
                "Whether sync also writes the keys where the interface is configured.",
            ),
            Key::new(
                "tiers-only",
                "true or false",
                "false",
                "Whether sync writes no key, and so needs no right to change an interface: for gateways whose firewall is all \
                 that opens.",
            ),
            Key::optional(
                "device",
                "name",
                r#""justins-laptop""#,
                "the interfaces' public keys tell",
                "The device whose keys are wanted.",
            ),
            Key::new("ssh-options", "list of texts", "[]", "For ssh(1): [\"-J\", \"jump.example.net\"]."),
            Key::optional(
                "way-around",
                "list of addresses and networks",
                r#"["203.0.113.7", "2001:db8::/48"]"#,
                "anywhere",
                "Where sync may go past a tunnel that is locked and takes all traffic: the bastion's addresses. [] forbids it. Only \
                 the site's file counts.",
            ),
            Key::new(
                "warn-before",
                "time: 30s, 10m, 1h",
                r#""10m""#,
                "How long before its end status takes a session for over, and wgmfa-warn.timer warns.",
            ),
        ],
    }],
    see_also: "wgmfa(1), ssh(1), ssh_config(5)",
};
