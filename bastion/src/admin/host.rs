//! `host …`: machines with an agent.

use russh::keys::ssh_key::{Algorithm, HashAlg, PublicKey as SshKey};
use serde::Serialize;
use wgmfa_core::exit::{Exit, Failure};

use super::answer::{Answer, acted, cut_off, let_in, list, no_such, rounds, shown};
use super::cuts::remember;
use super::site::touches_host;
use super::table::{Table, or_dash};
use super::{Asked, Context, Order, Outcome};
use crate::cli::words::HostCommand;
use crate::store::{Change, HostRecord};

#[derive(Debug, Serialize)]
struct HostJson {
    name: String,
    key: String,
    owner: Option<String>,
    disabled: bool,
    connected: bool,
    last_seen: Option<jiff::Timestamp>,
    next_round: Option<jiff::Timestamp>,
    added_at: jiff::Timestamp,
    pending: Vec<PendingJson>,
    refused: Vec<String>,
    version: Option<String>,
}

#[derive(Debug, Serialize)]
struct PendingJson {
    interface: String,
    known: Option<String>,
    reported: String,
}

/// Carries out one of these commands.
///
/// # Errors
/// It cannot be done; nothing was changed.
pub fn run(command: &HostCommand, asked: &Asked<'_>, context: &Context<'_>) -> Answer {
    let (store, now, json) = (context.store, context.now, asked.json);
    match command {
        HostCommand::Add { name, replace: true, .. } => {
            let key = agent_key(asked.stdin())?;
            let change = context.act(|actor| store.replace_host_key(now, actor, name, &key))?;
            let mut outcome = acted(change, json, &format!("{name} has another SSH key; the old one is refused"));
            if change == Change::Made {
                outcome.orders.push(Order::HangUpHost(name.clone()));
            }
            Ok(outcome)
        }
        HostCommand::Add { name, owner, .. } => {
            let key = agent_key(asked.stdin())?;
            let change = context.act(|actor| store.add_host(now, actor, name, &key, owner.as_ref()))?;
            Ok(acted(change, json, &format!("added {name}")))
        }
        HostCommand::List => render(&store.hosts()?, asked, context),
        HostCommand::Show { name } => {
            let host = store.host(name)?.ok_or_else(|| no_such("host", name))?;
            render(&[host], asked, context)
        }
        HostCommand::Disable { name } => {
            store.host(name)?.ok_or_else(|| no_such("host", name))?;
            remember(context, |connection| touches_host(connection, name))?;
            let cut = context.act(|actor| store.set_host_disabled(now, actor, name, true))?;
            let mut outcome =
                cut_off(&cut, (json, context), &format!("disabled {name}"), &format!("{name} is disabled"));
            outcome.orders.push(Order::HangUpHost(name.clone()));
            Ok(outcome)
        }
        HostCommand::Enable { name } => {
            store.host(name)?.ok_or_else(|| no_such("host", name))?;
            remember(context, |connection| touches_host(connection, name))?;
            let cut = context.act(|actor| store.set_host_disabled(now, actor, name, false))?;
            let_in(cut, (json, context), &format!("enabled {name}"), &format!("{name} is enabled again"))
        }
        HostCommand::Remove { name } => {
            remember(context, |connection| touches_host(connection, name))?;
            let cut = context.act(|actor| store.remove_host(now, actor, name))?;
            let mut outcome =
                cut_off(&cut, (json, context), &format!("removed {name}"), &format!("{name} was removed"));
            outcome.orders.push(Order::HangUpHost(name.clone()));
            Ok(outcome)
        }
        HostCommand::Accept { name } => {
            store.host(name)?.ok_or_else(|| no_such("host", name))?;
            let cut = context.act(|actor| store.accept_host(now, actor, name))?;
            let changed = cut.change == Change::Made;
            let text = format!("accepted the interface keys of {name}");
            let mut outcome = cut_off(&cut, (json, context), &text, "an interface key of this host has changed");
            if changed {
                let hosts = std::iter::once(name.clone()).chain(cut.hosts);
                outcome.orders.extend(rounds(hosts, "an administrator agreed to changed interface keys"));
            }
            Ok(outcome)
        }
    }
}

/// The agent's SSH public key, in one line without its comment.
fn agent_key(text: &str) -> Result<String, Failure> {
    let wrong =
        |what: &str| Failure::new(Exit::Usage, format!("--key: {what}")).hint("wgmfa-agent init --print-key prints it");
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return Err(wrong("not an SSH public key in one line"));
    };
    let key = SshKey::from_openssh(line).map_err(|_| wrong("not an SSH public key in one line"))?;
    match key.algorithm() {
        Algorithm::Ed25519 | Algorithm::Ecdsa { .. } => Ok(crate::host_key::one_line(&key)),
        // no login with another kind is accepted
        _ => Err(wrong("an agent's key is an Ed25519 or ECDSA key")),
    }
}

fn render(hosts: &[HostRecord], asked: &Asked<'_>, context: &Context<'_>) -> Answer {
    if asked.json {
        let objects: Vec<_> = hosts.iter().map(|host| object(host, context)).collect();
        return Ok(list("hosts", &objects));
    }
    let when = context.when();
    let mut table = Table::new(&["NAME", "OWNER", "AGENT", "KEY", "STATE"], asked.colour);
    for host in hosts {
        let agent = match (context.agents.connected(&host.name), last_seen(host, context)) {
            (true, _) => "connected".to_owned(),
            (false, Some(seen)) => format!("last seen {}", when.ago(seen)),
            (false, None) => "never seen".to_owned(),
        };
        let key = SshKey::from_openssh(&host.public_key).ok();
        let fingerprint = or_dash(key.map(|key| key.fingerprint(HashAlg::Sha256)));
        table.row([
            (&host.name).into(),
            or_dash(host.owner.as_ref()).into(),
            agent.into(),
            fingerprint.into(),
            state(host).into(),
        ]);
    }
    Ok(with_notes(hosts, table.render("no hosts")))
}

/// Below the table what an administrator has to look at.
fn with_notes(hosts: &[HostRecord], mut text: String) -> Outcome {
    for host in hosts {
        for refused in &host.refused {
            text.push_str(&format!("{}/{refused}\n", host.name));
        }
    }
    shown(wgmfa_core::exit::sanitise(&text))
}

fn state(host: &HostRecord) -> &'static str {
    match (host.disabled, host.owner_disabled, host.pending.is_empty()) {
        (true, ..) => "disabled",
        (false, true, _) => "owner disabled",
        (false, false, false) => "key to accept",
        (false, false, true) => "enabled",
    }
}

/// When a host's agent was last heard.
pub fn last_seen(host: &HostRecord, context: &Context<'_>) -> Option<jiff::Timestamp> {
    context.agents.last_seen(&host.name).max(host.last_seen)
}

/// An agent that does not say when it comes again is late after this, in seconds: a resident one pings every 10 s, and
/// cron comes every minute.
const LATE: i64 = 180;

/// Whether a host's agent should have come by now.
pub fn is_overdue(host: &HostRecord, context: &Context<'_>) -> bool {
    let expected = host.next_round.or(last_seen(host, context));
    let late = expected.is_some_and(|time| context.now.as_second().saturating_sub(time.as_second()) > LATE);
    late && !context.agents.connected(&host.name) && !host.disabled && !host.owner_disabled
}

fn object(host: &HostRecord, context: &Context<'_>) -> HostJson {
    let pending = |pending: &crate::store::PendingKey| PendingJson {
        interface: pending.interface.to_string(),
        known: pending.known.map(|key| key.to_string()),
        reported: pending.reported.to_string(),
    };
    HostJson {
        name: host.name.to_string(),
        key: host.public_key.clone(),
        owner: host.owner.as_ref().map(ToString::to_string),
        disabled: host.disabled || host.owner_disabled,
        connected: context.agents.connected(&host.name),
        last_seen: last_seen(host, context),
        next_round: host.next_round,
        added_at: host.added_at,
        pending: host.pending.iter().map(pending).collect(),
        refused: host.refused.iter().map(ToString::to_string).collect(),
        version: context.agents.version(&host.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

    #[test]
    fn an_agents_key_is_taken_from_the_line_that_its_init_prints() {
        for text in [KEY.to_owned(), format!("{KEY} root@app-gw\n"), format!("# key of app-gw\n\n{KEY} wgmfa-agent\n")]
        {
            assert_eq!(agent_key(&text).as_deref(), Ok(KEY), "{text}");
        }
        let two = format!("{KEY}\n{KEY}\n");
        for text in ["", "hello", "ssh-ed25519 AAAA", "-----BEGIN OPENSSH PRIVATE KEY-----", &two] {
            assert_eq!(agent_key(text).unwrap_err().error, "--key: not an SSH public key in one line", "{text}");
        }
    }

    #[test]
    fn a_key_with_which_no_login_is_accepted_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let mut keygen = std::process::Command::new("ssh-keygen");
        assert!(keygen.args(["-q", "-t", "rsa", "-b", "2048", "-N", "", "-f"]).arg(&path).status().unwrap().success());
        let public = std::fs::read_to_string(path.with_extension("pub")).unwrap();
        let failure = agent_key(&public).unwrap_err();
        assert_eq!(failure.error, "--key: an agent's key is an Ed25519 or ECDSA key");
        assert_eq!(failure.exit, Exit::Usage);
    }
}
