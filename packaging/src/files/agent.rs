//! `agent.toml`

use crate::keys::{File, Key, Table};

/// The configuration of `wgmfa-agent`.
pub const AGENT: File = File {
    name: "agent.toml",
    page: "wgmfa-agent.toml",
    is_sampled: true,
    title: "configuration of wgmfa-agent",
    path: "/etc/wgmfa/agent.toml",
    head: "Configuration of wgmfa-agent(8), which wgmfa-agent init makes; bastion and host must be there. Look at it with: \
           wgmfa-agent check",
    description: &[
        "What wgmfa-agent(8) is told about its machine and its bastion, in TOML. wgmfa-agent init makes the file. It must \
         belong to root, and nobody else may write it. An unknown key is a fault: all faults are shown with their places. A \
         change takes effect at the next start of wgmfa-agent run, and at the next wgmfa-agent rotate.",
    ],
    tables: &[
        Table {
            header: "",
            sample: "",
            text: "",
            keys: &[
                Key::required(
                    "bastion",
                    "HOST, HOST:PORT or [IPV6]:PORT",
                    r#""bastion.example.net:2222""#,
                    "Where the bastion is reached. Without a port: 22.",
                ),
                Key::required("host", "name", r#""app-gw""#, "The name under which the bastion knows this machine."),
                Key::new(
                    "identity",
                    "absolute path",
                    r#""/etc/wgmfa/agent_ed25519""#,
                    "This machine's SSH key, an OpenSSH private key file that nobody but root can read.",
                ),
                Key::new(
                    "known-hosts",
                    "absolute path",
                    r#""/etc/wgmfa/known_hosts""#,
                    "The bastion's SSH host keys, as the known_hosts file of sshd(8). Nothing is trusted on first use.",
                ),
                Key::optional(
                    "interfaces",
                    "list of names",
                    r#"["devices"]"#,
                    "all",
                    "The WireGuard interfaces that the agent looks after.",
                ),
                Key::new(
                    "state-dir",
                    "absolute path",
                    r#""/var/lib/wgmfa-agent""#,
                    "Where the agent keeps what it remembers.",
                ),
                Key::new(
                    "manage-files",
                    "true or false",
                    "true",
                    "Whether the agent keeps a lock key for each peer under an MFA policy in the interface's configuration file. A \
                     peer that has no PresharedKey line there would come up without a second factor.",
                ),
                Key::new(
                    "wireguard-dir",
                    "absolute path",
                    r#""/etc/wireguard""#,
                    "Where wg-quick's configuration files are. For other folders than the usual ones, here and below, \
                     wgmfa-agent.service, wgmfa-lock.service and wgmfa-rotate.service need ReadWritePaths= in a drop-in.",
                ),
                Key::new(
                    "networkd-dirs",
                    "list of absolute paths",
                    "[\"/etc/systemd/network\", \"/run/systemd/network\", \"/usr/local/lib/systemd/network\", \
                     \"/usr/lib/systemd/network\", \"/lib/systemd/network\"]",
                    "Where systemd-networkd's .netdev files are; an earlier folder goes before a later one. Nothing below /usr \
                     is changed.",
                ),
                Key::new(
                    "networkmanager-dirs",
                    "list of absolute paths",
                    "[\"/etc/NetworkManager/system-connections\", \"/run/NetworkManager/system-connections\", \
                     \"/usr/lib/NetworkManager/system-connections\"]",
                    "Where NetworkManager's keyfiles are; an earlier folder goes before a later one.",
                ),
                Key::new(
                    "gate",
                    "nftables or ip-rule",
                    r#""nftables""#,
                    "What carries out policies that enforce by the firewall: a table of nftables, or routing rules and tables as \
                     far as those can.",
                ),
                Key::new(
                    "code-port",
                    "port",
                    "7777",
                    "The TCP port on which one-time codes are asked for inside the tunnels.",
                ),
                Key::new(
                    "codes-from-networks",
                    "true or false",
                    "false",
                    "Whether a peer whose allowed IPs are whole networks may give codes, known by any address of them, and is let \
                     through with all of them.",
                ),
            ],
        },
        Table {
            header: "[tier.0]",
            sample: "[tier.0]",
            text: "What a peer under a firewall policy reaches without a code, besides the code port itself.",
            keys: &[Key::optional(
                "allow",
                "list of networks and services",
                r#"["10.0.0.1:53/udp"]"#,
                "nothing",
                "Networks (10.1.0.0/16, fd00:1::/48) and services on them (10.2.0.5:443/tcp, [fd00::5]:53/udp).",
            )],
        },
        Table {
            header: "[tier.NAME]",
            sample: "[tier.prod]",
            text: "What a policy with tier = \"NAME\" opens.",
            keys: &[Key::required(
                "allow",
                "list of networks and services",
                r#"["10.1.0.0/16", "fd00:1::/48", "10.2.0.5:443/tcp"]"#,
                "As above.",
            )],
        },
        Table {
            header: "[tier.NAME], a step up",
            sample: "[tier.admin]",
            text: "A tier that opens by another code, for people who have the tier below it.",
            keys: &[
                Key::required("allow", "list of networks and services", r#"["10.9.0.0/24"]"#, "As above."),
                Key::optional(
                    "from",
                    "name of a tier",
                    r#""prod""#,
                    "only a policy gives it",
                    "The tier from which a person may step up to this one, and to which it falls back.",
                ),
                Key::optional(
                    "lifetime",
                    "time: 30s, 10m, 1h, 1d, 1d12h",
                    r#""10m""#,
                    "as long as the policy's rotation-interval says",
                    "How long a code inside the tunnel opens it at most; at least 30s. A login at the bastion opens the \
                     policy's own tier for the rotation-interval, and an override for its own time.",
                ),
            ],
        },
    ],
    see_also: "wgmfa-agent(8), wgmfa-policy(5), nft(8), ip-rule(8)",
};
