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
