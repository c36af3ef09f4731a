//! `host …` and `device …`

use std::path::PathBuf;

use clap::Subcommand;
use wgmfa_core::name::{DeviceName, HostName, UserName};

/// `host …`
#[derive(Debug, Subcommand)]
pub enum HostCommand {
    /// Add a machine with an agent
    #[command(
        after_help = "Example:\n    wgmfa-bastion host add app-gw --key app-gw.pub\n    ssh app-gw sudo wgmfa-agent \
                      new-key | wgmfa-bastion host add app-gw --key - --replace"
    )]
    Add {
        /// The host's name
        name: HostName,
        /// Its agent's SSH public key, one line as `wgmfa-agent init` prints it; - is standard input
        #[arg(long, value_name = "FILE|-")]
        key: PathBuf,
        /// The person whose machine it is: it may then be a client side
        #[arg(long, value_name = "USER", conflicts_with = "replace")]
        owner: Option<UserName>,
        /// The host is known already: this key takes the place of its agent's key, which is refused from then on
        #[arg(long)]
        replace: bool,
    },
    /// List hosts
    #[command(after_help = "Example:\n    wgmfa-bastion host list")]
    List,
    /// Show one host
    #[command(after_help = "Example:\n    wgmfa-bastion host show app-gw")]
    Show {
        /// The host's name
        name: HostName,
    },
    /// Cut a host off at once
    #[command(
        after_help = "Example:\n    wgmfa-bastion host disable app-gw\n\nA peer of it that nobody has registered, and that no \
                      policy covers, stays as it is."
    )]
    Disable {
        /// The host's name
        name: HostName,
    },
    /// Let a disabled host in again
    #[command(
        after_help = "Example:\n    wgmfa-bastion host enable app-gw\n\nConnections that no policy covers stay locked, and are \
                      named: wgmfa-bastion key set puts a key there."
    )]
    Enable {
        /// The host's name
        name: HostName,
    },
    /// Cut a host off at once, and forget it
    #[command(after_help = "Example:\n    wgmfa-bastion host remove app-gw")]
    Remove {
        /// The host's name
        name: HostName,
    },
    /// Agree to the changed keys of a host's interfaces, and to those that were a removed device's
    #[command(after_help = "Example:\n    wgmfa-bastion host accept app-gw")]
    Accept {
        /// The host's name
        name: HostName,
    },
}

/// `device …`
#[derive(Debug, Subcommand)]
pub enum DeviceCommand {
    /// Add a person's WireGuard key
    #[command(after_help = "Example:\n    wgmfa-bastion device add justins-laptop --owner justin --public-key \
                      ezi8yOz8uW/rZVM+88zTu79wzRa3bNPUXCahxDU9ebE=")]
    Add {
        /// The device's name
        name: DeviceName,
        /// The person who owns it
        #[arg(long, value_name = "USER")]
        owner: UserName,
        /// Its WireGuard public key, as `wg show INTERFACE public-key` prints it
        #[arg(long, value_name = "KEY")]
        public_key: String,
    },
    /// List devices
    #[command(after_help = "Example:\n    wgmfa-bastion device list")]
    List,
    /// Show one device
    #[command(after_help = "Example:\n    wgmfa-bastion device show justins-laptop")]
    Show {
        /// The device's name
        name: DeviceName,
    },
    /// Cut a lost device off at once, and keep it locked
    #[command(after_help = "Example:\n    wgmfa-bastion device disable justins-laptop")]
    Disable {
        /// The device's name
        name: DeviceName,
    },
    /// Let a disabled device in again
    #[command(
        after_help = "Example:\n    wgmfa-bastion device enable justins-laptop\n\nConnections that no policy covers stay locked, and are \
                      named: wgmfa-bastion key set puts a key there."
    )]
    Enable {
        /// The device's name
        name: DeviceName,
    },
    /// Cut a device off at once, and forget it
    #[command(after_help = "Example:\n    wgmfa-bastion device remove justins-laptop")]
    Remove {
        /// The device's name
        name: DeviceName,
    },
}
