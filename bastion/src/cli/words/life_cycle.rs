//! `sealing-key …` and `clock …`

use clap::Subcommand;

use super::reason;

/// `sealing-key …`
#[derive(Debug, Subcommand)]
pub enum SealingKeyCommand {
    /// Make a new key, seal everything with it, and put it in the place of the old one
    #[command(
        after_help = "Example:\n    wgmfa-bastion sealing-key rotate\n\nWorks beside the running bastion and without \
                            it; logins in progress are ended. Make a new backup afterwards: older ones need the key they were \
                            made with. If the key is a systemd credential: stop the bastion, let sealing-key in \
                            bastion.toml name a copy that only root can read, rotate, and encrypt the new file with \
                            systemd-creds."
    )]
    Rotate,
}

/// `host-key …`
#[derive(Debug, Subcommand)]
pub enum HostKeyCommand {
    /// Make the next host key, and announce it over connections that the key in use authenticates
    #[command(
        after_help = "Example:\n    wgmfa-bastion host-key rotate\n\nThe key in use stays in use. Agents put the next key into \
                            their known_hosts by themselves, and so does `wgmfa sync`; for stock ssh, host-key shows both \
                            lines, and `ssh bastion wgmfa-host-key NAME` prints them to everybody who logs in. The same \
                            again tells which hosts do not know it yet. Logins in progress are ended. Then: host-key switch."
    )]
    Rotate,
    /// Put the next host key in use
    #[command(
        after_help = "Example:\n    wgmfa-bastion host-key switch\n\nRefused, with their names, while there are hosts that \
                            have not said that they know it. Whoever does not know it is refused by their own ssh, and told \
                            so; connections that are open stay. The old key is kept beside and still announced. Then: \
                            host-key retire."
    )]
    Switch {
        /// Also if hosts do not know it yet: they need wgmfa-agent init --known-host
        #[arg(long)]
        force: bool,
    },
    /// Delete the host key that is not in use: the old one after the switch, the next one before it
    #[command(
        after_help = "Example:\n    wgmfa-bastion host-key retire\n\nAgents forget it at their next round. Retire soon if the \
                            old key may be in other hands: until then a machine that has not followed believes it."
    )]
    Retire,
}

/// `clock …`
#[derive(Debug, Subcommand)]
pub enum ClockCommand {
    /// Set the bastion's time back to this machine's clock; locks all sessions and voids all codes
    #[command(
        after_help = "Example:\n    wgmfa-bastion clock reset --reason 'the time server was wrong'\n\nThe bastion's time \
                            never runs below the last recorded one, and refuses every one-time code until the clock is there. \
                            This is the way back after the clock has shown a wrong, later time. A code that was used \
                            meanwhile could be used again when its time comes."
    )]
    Reset {
        /// Why, for the audit log
        #[arg(long, value_name = "TEXT", value_parser = reason)]
        reason: String,
    },
}
