//! Policy files

use crate::keys::{File, Key, Table};

/// One policy.
pub const POLICY: File = File {
    name: "policy.toml",
    page: "wgmfa-policy",
    is_sampled: false,
    title: "policies of wgmfa",
    path: "/etc/wgmfa/policy.d/NUMBER-NAME.toml",
    head: "",
    description: &[
        "Each file of the policy folder whose name ends in .toml is a policy, in TOML. The number in front of its name is the \
         policy's ordinal; no two may be equal. Of all policies that name one of the two ends of a connection the one with the \
         lowest ordinal applies, and only that one.",
        "A peer is named HOST/INTERFACE, an interface of a machine with an agent; or by a device's name; or by a public key. * \
         matches within a name, never across the slash: *-gw/devices.",
        "An end that server-peers names is the server side: its key is changed, and it locks. An end that client-peers names \
         makes the other end the server side. The client side belongs to a person, who fetches the key with a login. A policy \
         that makes both ends, or none, the server side contradicts itself there: the connection's state is Conflict, and \
         nothing is rotated.",
        "wgmfa-bastion policy check finds every fault in a folder, also elsewhere and without root; policy explain says for each \
         connection which policy wins, and why; wgmfa-bastion reload takes the files anew, all or nothing, and reload --dry-run \
         tells before what would change. Files of the worked example are in /usr/share/doc/wgmfa-bastion/examples.",
    ],
    tables: &[Table {
        header: "",
        sample: "",
        text: "",
        keys: &[
            Key::required(
                "description",
                "text",
                r#""Prod User Devices""#,
                "One line for people, at most 200 characters.",
            ),
            Key::required(
                "rotation-interval",
                "time: 30s, 10m, 1h, 1d, 1d12h",
                r#""1h""#,
                "How long a released key is good for, and how old a key becomes; at least 30s.",
            ),
            Key::required(
                "mfa",
                "true or false",
                "true",
                "true: one side changes the key, and a person fetches it with a login. false: both sides, two machines with \
                 agents, change it together, and no person is needed.",
            ),
            Key::new(
                "server-peers",
                "list of peers",
                "[]",
                "With mfa = true: the connections of these are covered, and their own side changes the key.",
            ),
            Key::new(
                "client-peers",
                "list of peers",
                "[]",
                "With mfa = true: the connections of these are covered, and the other side changes the key.",
            ),
            Key::optional(
                "peers",
                "list of peers",
                r#"["app-gw/infra", "db-gw/infra"]"#,
                "[]; refused with mfa = true",
                "With mfa = false: the connections of these are covered.",
            ),
            Key::new(
                "unmonitored",
                "true or false",
                "false",
                "Whether connections are covered too whose other end nobody has registered. With mfa = true that locks them until \
                 an administrator carries the key (wgmfa-bastion key show).",
            ),
            Key::optional(
                "idle-timeout",
                "time: 5m, 1h",
                r#""15m""#,
                "never",
                "Lock also when no new handshake was seen for this long; at least 5m, since handshakes come every 2 minutes.",
            ),
            Key::new(
                "enforce",
                "list of preshared-key and firewall",
                r#"["preshared-key"]"#,
                "By what means: the peer's key, the server's firewall, or both, which then open and close together.",
            ),
            Key::optional(
                "tier",
                "name of a tier",
                r#""prod""#,
                "refused with firewall in enforce",
                "The tier that the firewall opens, of wgmfa-agent.toml(5) on the server.",
            ),
        ],
    }],
    see_also: "wgmfa-bastion(8), wgmfa-bastion.toml(5), wgmfa-agent.toml(5)",
};
