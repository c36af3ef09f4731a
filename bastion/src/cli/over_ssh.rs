//! What a command means when it comes over SSH: whether it costs a fresh code, and whether it reads from its channel.
//!
//! Both tables name every command, so that a new one cannot be forgotten.

use super::words::{
    Command, DeviceCommand, HostCommand, KeyCommand, LogCommand, PasswordSource, PolicyCommand, UserCommand,
    UserKeyCommand,
};

/// What an administrator pays for a command over SSH.
///
/// Whoever has taken over the front sees the logins that pass through it, and could go on in their names. So whatever
/// opens, shows or destroys something costs a code that was accepted in this very login, and a login pays once. Looking
/// is free, and so is what only closes: in an emergency nobody waits for the next code to cut off three more devices.
/// With `require-code = false` no code is accepted here, and a login that a foreign second factor let pass pays instead:
/// also for one act, and within 60 s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Cost {
    /// Nothing.
    Free,
    /// The code of this login.
    FreshCode,
}

/// What a command costs.
pub fn cost(command: &Command) -> Cost {
    match command {
        // they look
        Command::Check | Command::Status | Command::Why { .. } | Command::HostKey { act: None, .. } => Cost::Free,
        Command::HostKey { act: Some(_), .. } => Cost::FreshCode,
        Command::Inventory { .. } | Command::Policy(PolicyCommand::Check { .. } | PolicyCommand::Explain { .. }) => {
            Cost::Free
        }
        Command::Log { act, .. } => match act {
            None | Some(LogCommand::Verify { .. } | LogCommand::Head | LogCommand::Export { .. }) => Cost::Free,
            Some(LogCommand::Prune { .. } | LogCommand::Accept { .. }) => Cost::FreshCode,
        },
        Command::Backup { .. } | Command::SealingKey(_) => Cost::FreshCode,
        Command::Reload { dry_run: true } => Cost::Free,
        // what is in force for everybody changes
        Command::Reload { dry_run: false } => Cost::FreshCode,
        Command::User(command) => match command {
            UserCommand::List | UserCommand::Show { .. } | UserCommand::Disable { .. } => Cost::Free,
            UserCommand::Key(UserKeyCommand::List { .. } | UserKeyCommand::Remove { .. }) => Cost::Free,
            // unlocking for ever would let somebody guess for ever
            UserCommand::Add { .. }
            | UserCommand::Enable { .. }
            | UserCommand::Unlock { .. }
            | UserCommand::Remove { .. }
            | UserCommand::Reset { .. }
            | UserCommand::Code { .. }
            | UserCommand::Key(UserKeyCommand::Add { .. }) => Cost::FreshCode,
        },
        Command::Host(command) => match command {
            HostCommand::List | HostCommand::Show { .. } | HostCommand::Disable { .. } => Cost::Free,
            HostCommand::Add { .. }
            | HostCommand::Enable { .. }
            | HostCommand::Remove { .. }
            | HostCommand::Accept { .. } => Cost::FreshCode,
        },
        Command::Device(command) => match command {
            DeviceCommand::List | DeviceCommand::Show { .. } | DeviceCommand::Disable { .. } => Cost::Free,
            DeviceCommand::Add { .. } | DeviceCommand::Enable { .. } | DeviceCommand::Remove { .. } => Cost::FreshCode,
        },
        Command::Key(command) => match command {
            // a new generation that nobody has ends sessions and opens none
            KeyCommand::List { .. } | KeyCommand::Rotate { .. } => Cost::Free,
            KeyCommand::Show { .. } | KeyCommand::Set { .. } => Cost::FreshCode,
        },
        Command::Override(_) => Cost::FreshCode,
        // refused over SSH
        Command::Init { .. } | Command::Serve | Command::Front | Command::PamWorker => Cost::FreshCode,
        Command::Restore { .. } | Command::Clock(_) => Cost::FreshCode,
    }
}

/// Whether a command reads its channel to the end.
pub fn reads_input(command: &Command) -> bool {
    match command {
        Command::User(UserCommand::Add { password, .. } | UserCommand::Reset { password, .. }) => {
            matches!(password, PasswordSource { password_stdin: true, .. })
        }
        Command::Log { act: Some(LogCommand::Verify { file }), .. } => file.is_some(),
        Command::Policy(PolicyCommand::Explain { inventory, .. }) => inventory.is_some(),
        Command::Host(HostCommand::Add { .. }) | Command::User(UserCommand::Key(UserKeyCommand::Add { .. })) => true,
        Command::Key(KeyCommand::Set { .. }) => true,
        Command::User(_) | Command::Host(_) | Command::Device(_) | Command::Key(_) | Command::Override(_) => false,
        Command::Policy(_) | Command::Inventory { .. } | Command::Log { .. } | Command::Reload { .. } => false,
        Command::Check | Command::Status | Command::Why { .. } | Command::HostKey { .. } => false,
        Command::Backup { .. } | Command::Restore { .. } | Command::SealingKey(_) | Command::Clock(_) => false,
        Command::Init { .. } | Command::Serve | Command::Front | Command::PamWorker => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse_forwarded;
    use super::*;

    fn command(line: &str) -> Command {
        let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        parse_forwarded(&words).unwrap_or_else(|_| panic!("{line}")).command
    }

    #[test]
    fn what_looks_or_only_closes_is_free() {
        for line in [
            "check",
            "status",
            "why justin",
            "host-key",
            "inventory --unregistered",
            "policy check",
            "policy explain",
            "log --follow",
            "log verify",
            "log head",
            "log export --before 90d",
            "reload --dry-run",
            "user list",
            "user show justin",
            "user disable justin",
            "user key list justin",
            "user key remove justin SHA256:ycQwGAV8WaqCEZqB5QVBJcFKqxWGJ0Ar6UOPnN2bmHQ",
            "host list",
            "host show app-gw",
            "host disable app-gw",
            "device list",
            "device show laptop",
            "device disable laptop",
            "key list",
            "key rotate --all --reason leak",
        ] {
            assert_eq!(cost(&command(line)), Cost::Free, "{line}");
        }
    }

    #[test]
    fn what_opens_shows_or_destroys_costs_a_fresh_code() {
        for line in [
            "reload",
            "user add justin --password-stdin",
            "user enable justin",
            "user unlock justin",
            "user remove justin",
            "user reset justin --system-password",
            "user add justin --invite",
            "user code justin --reason lost",
            "user key add justin --key -",
            "host add app-gw --key -",
            "host enable app-gw",
            "host remove app-gw",
            "host accept app-gw",
            "device add laptop --owner justin --public-key ezi8yOz8uW/rZVM+88zTu79wzRa3bNPUXCahxDU9ebE=",
            "device enable laptop",
            "device remove laptop",
            "key show laptop --reason lost",
            "log prune 7 ab",
            "log accept --reason restored",
            "backup -",
            "sealing-key rotate",
            "host-key rotate",
            "host-key switch",
            "host-key retire",
            "key set laptop --reason lost",
            "override laptop --reason lost",
        ] {
            assert_eq!(cost(&command(line)), Cost::FreshCode, "{line}");
        }
    }

    #[test]
    fn only_what_reads_waits_for_the_end_of_the_input() {
        for line in [
            "user add justin --password-stdin",
            "user reset justin --password-stdin",
            "host add app-gw --key -",
            "user key add justin --key -",
            "log verify --file -",
            "policy explain --inventory -",
        ] {
            assert!(reads_input(&command(line)), "{line}");
        }
        for line in [
            "user add justin --system-password",
            "user add justin --invite",
            "user reset justin",
            "key list",
            "log --follow",
            "host list",
            "check",
            "policy explain",
            "policy check -",
        ] {
            assert!(!reads_input(&command(line)), "{line}");
        }
    }
}
