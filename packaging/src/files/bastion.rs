//! `bastion.toml`

use crate::keys::{File, Key, Table};

/// The configuration of `wgmfa-bastion`.
pub const BASTION: File = File {
    name: "bastion.toml",
    page: "wgmfa-bastion.toml",
    is_sampled: true,
    title: "configuration of wgmfa-bastion",
    path: "/etc/wgmfa/bastion.toml",
    head: "Configuration of wgmfa-bastion(8); an empty file is a good one. Look at it with: wgmfa-bastion check",
    description: &[
        "What wgmfa-bastion(8) is told about its machine, in TOML. wgmfa-bastion init makes the file. It must belong to root, \
         and nobody else may write it. An unknown key is a fault: all faults are shown with their places, and nothing starts. \
         Every key may be left out. A change takes effect at the next start; policies are taken anew by wgmfa-bastion reload.",
    ],
    tables: &[Table {
        header: "",
        sample: "",
        text: "",
        keys: &[
            Key::new(
                "listen",
                "list of ADDRESS:PORT",
                r#"["0.0.0.0:2222", "[::]:2222"]"#,
                "Where people and agents come by SSH. [] leaves people to this machine's own sshd. A port below 1024 needs \
                 CAP_NET_BIND_SERVICE in a drop-in of wgmfa-bastion.service.",
            ),
            Key::new("agent-listen", "list of ADDRESS:PORT", "[]", "Where agents come. []: to listen."),
            Key::new("state-dir", "absolute path", r#""/var/lib/wgmfa""#, "The folder of the store."),
            Key::new(
                "policy-dir",
                "absolute path",
                r#""/etc/wgmfa/policy.d""#,
                "The folder of the policies, wgmfa-policy(5).",
            ),
            Key::new(
                "run-dir",
                "absolute path",
                r#""/run/wgmfa""#,
                "The folder of the sockets. pam_wgmfa(8) looks for keeper.sock here unless it is told another place.",
            ),
            Key::new(
                "host-keys",
                "list of absolute paths",
                r#"["/etc/wgmfa/ssh_host_ed25519_key"]"#,
                "The SSH host keys: OpenSSH private key files that nobody but root can read.",
            ),
            Key::new(
                "sealing-key",
                "absolute path",
                r#""/etc/wgmfa/sealing.key""#,
                "The key that seals the secrets in the store: a file of 32 bytes that nobody but root can read. The systemd \
                 credential wgmfa.sealing-key goes before it, where there is one: see wgmfa-bastion(8).",
            ),
            Key::new(
                "pam-service",
                "name",
                r#""wgmfa""#,
                "The PAM service that every login runs through, a file of /etc/pam.d.",
            ),
            Key::optional(
                "pam-dir",
                "absolute path",
                r#""/etc/wgmfa/pam.d""#,
                "the system's own, /etc/pam.d",
                "A folder of PAM services of our own, in place of the system's.",
            ),
            Key::new(
                "require-code",
                "true or false",
                "true",
                "Whether a login needs a one-time code that the bastion itself has accepted, whatever the PAM service returned. \
                 false only where another PAM module is the second factor: wgmfa-bastion check warns.",
            ),
            Key::new(
                "first-factor",
                "password, publickey or either",
                r#""password""#,
                "What people prove before the one-time code. With publickey, PAM asks for the code alone.",
            ),
            Key::new("contact", "text", r#""""#, "Shown after a refused login: whom to call."),
            Key::new(
                "front-user",
                "name",
                r#""wgmfa""#,
                "The user as whom the process runs that speaks to the network.",
            ),
            Key::new(
                "people-group",
                "name",
                r#""wgmfa-sync""#,
                "The group of the set-group-id program /usr/bin/wgmfa-sync, through which people ask who came by the site's own \
                 sshd: wgmfa-sync(1).",
            ),
            Key::optional(
                "metrics",
                "unix:PATH, or a loopback ADDRESS:PORT",
                r#""unix:/run/wgmfa/metrics.sock""#,
                "nowhere",
                "Where Prometheus may read: a socket for root and its group, or an address for everybody on this machine. The \
                 metrics name nobody.",
            ),
        ],
    }],
    see_also: "wgmfa-bastion(8), wgmfa-policy(5), pam_wgmfa(8)",
};
