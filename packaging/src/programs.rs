//! The programs that have a man page and completions, and what their pages say besides their command lines.

use clap::{Command, CommandFactory};

/// A program.
#[derive(Debug)]
pub struct Program {
    /// Its name.
    pub name: &'static str,
    /// Its command line.
    pub command: Command,
    /// The section of its page.
    pub section: &'static str,
    /// What it is, in a line.
    pub title: &'static str,
    /// Paragraphs behind the first one, which is that of `--help`.
    pub description: &'static [&'static str],
    /// Files that it reads and writes, and what they are.
    pub files: &'static [(&'static str, &'static str)],
    /// Pages to read next.
    pub see_also: &'static str,
}

impl Program {
    /// The name of its page's file.
    pub fn file_name(&self) -> String {
        format!("{}.{}", self.name, self.section)
    }

    /// Its command line without the commands by which it starts itself. clap can add commands, and takes none away.
    pub fn without_hidden(&self) -> Command {
        let shown = self.command.get_subcommands().filter(|each| !each.is_hide_set()).cloned();
        Command::new(self.name)
            .version(crate::VERSION)
            .about(self.command.get_about().cloned().unwrap_or_default())
            .args(self.command.get_arguments().cloned())
            .subcommands(shown)
            .disable_help_subcommand(true)
    }
}

/// The exit statuses that all programs share.
pub const EXIT_STATUS: [(&str, &str); 7] = [
    ("0", "All was done, or nothing was to do."),
    ("1", "It failed; nothing was changed."),
    ("2", "Wrong usage or broken configuration."),
    ("3", "Login refused."),
    ("4", "A login is needed: a session has expired, or is about to."),
    ("5", "The other side could not be reached."),
    ("6", "Done in part; the lines that failed are named."),
];

/// All of them.
pub fn all() -> [Program; 3] {
    [client(), agent(), bastion()]
}

fn client() -> Program {
    Program {
        name: "wgmfa",
        command: wgmfa::commands::Arguments::command(),
        section: "1",
        title: "log in for WireGuard, and tell what is left of a session",
        description: &[
            "A peer under a policy can shake hands only while it holds the current preshared key of its connection. A login \
             on the bastion, with password and one-time code, releases that key; sync logs in through the system's ssh(1), so \
             that ~/.ssh/config, jump hosts and known hosts work as they are, and writes the keys into the interfaces.",
            "Only apply and interfaces need CAP_NET_ADMIN. Where the person has no such right, sync starts these two through \
             sudo(8); members of the group wgmfa are allowed exactly them by /etc/sudoers.d/wgmfa.",
        ],
        files: &[
            (
                "~/.config/wgmfa/client.toml, /etc/wgmfa/client.toml",
                "The person's and the site's defaults: wgmfa-client.toml(5).",
            ),
            ("/run/wgmfa-client", "What sync leaves for status: no keys."),
            ("/etc/sudoers.d/wgmfa", "What members of the group wgmfa may do."),
        ],
        see_also: "wgmfa-client.toml(5), wg(8), wg-quick(8), ssh(1), wgmfa-agent(8), wgmfa-bastion(8)",
    }
}

fn agent() -> Program {
    Program {
        name: "wgmfa-agent",
        command: wgmfa_agent::cli::CommandLine::command(),
        section: "8",
        title: "rotate and lock the preshared keys of WireGuard peers on a server",
        description: &[
            "It makes each new key, hands it to the bastion, applies it, opens a peer when the bastion has released its key, and \
             locks it at its deadline, also when the bastion is away. It stays (run, the unit wgmfa-agent.service), or comes by \
             each minute (rotate, from cron or wgmfa-rotate.timer; both are off as installed).",
            "To lock is to remove the peer and to add it again with a key that nobody has. Before the interfaces come up at boot, \
             wgmfa-lock.service does that; whose session has not ended gets it back from the bastion without a new login.",
        ],
        files: &[
            ("/etc/wgmfa/agent.toml", "The configuration: wgmfa-agent.toml(5)."),
            ("/etc/wgmfa/agent_ed25519", "This host's SSH key, made by init."),
            ("/etc/wgmfa/known_hosts", "The bastion's host keys."),
            ("/var/lib/wgmfa-agent", "What it remembers; gate.nft there is for the site's own rules to include."),
        ],
        see_also: "wgmfa-agent.toml(5), wgmfa-policy(5), wgmfa-bastion(8), wgmfa(1), wg(8), nft(8)",
    }
}

fn bastion() -> Program {
    Program {
        name: "wgmfa-bastion",
        command: wgmfa_bastion::cli::words::CommandLine::command(),
        section: "8",
        title: "release preshared keys of WireGuard after a login with a one-time code",
        description: &[
            "serve is three kinds of process: a front without rights speaks SSH, a keeper owns the store and every decision, and a \
             PAM worker serves each login. Every other command but init, check, policy check and policy explain --inventory asks \
             the running keeper. Administrators give them from anywhere: ssh bastion wgmfa-bastion COMMAND; a FILE or DIR can only \
             be - then.",
            "The secrets in the store are sealed with a key that is not in it: the file sealing-key of wgmfa-bastion.toml(5), or \
             the systemd credential wgmfa.sealing-key, which wgmfa-bastion.service takes from /etc/credstore.encrypted and \
             which goes before the file. To bind it to the TPM of the machine: systemd-creds encrypt \
             --with-key=tpm2 --name=wgmfa.sealing-key /etc/wgmfa/sealing.key /etc/credstore.encrypted/wgmfa.sealing-key; restart \
             the unit; keep the file at a safe place elsewhere, because a backup cannot be restored without it.",
        ],
        files: &[
            ("/etc/wgmfa/bastion.toml", "The configuration: wgmfa-bastion.toml(5)."),
            ("/etc/wgmfa/policy.d", "The policies: wgmfa-policy(5)."),
            ("/etc/wgmfa/sealing.key", "The sealing key, 32 bytes, for root alone."),
            ("/etc/wgmfa/ssh_host_ed25519_key", "The SSH host key, made by init."),
            ("/etc/pam.d/wgmfa", "The PAM service that every login runs through: pam_wgmfa(8)."),
            ("/var/lib/wgmfa", "The store."),
            ("/run/wgmfa", "The sockets."),
        ],
        see_also: "wgmfa-bastion.toml(5), wgmfa-policy(5), pam_wgmfa(8), wgmfa-agent(8), wgmfa(1), systemd-creds(1)",
    }
}
