//! `host-key …`: the bastion's SSH host keys for others, and the three steps of a change.

use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::name::HostName;

use super::after_logins::{self, Act};
use super::answer::{Answer, json_line, shown};
use super::{Asked, Context, Outcome};
use crate::cli::words::HostKeyCommand;
use crate::host_key::change::{Beside, Stage, make_next, retire, switch};
use crate::host_key::{known_hosts, machine_name, one_line, public_keys, sshfp};
use crate::store::{Change, Event, Note};

/// Carries out one of these commands.
///
/// # Errors
/// It cannot be done; nothing was changed.
pub fn run(as_sshfp: bool, act: Option<&HostKeyCommand>, asked: &Asked<'_>, context: &Context<'_>) -> Answer {
    let Some(act) = act else { return show(as_sshfp, asked, context) };
    let beside = Beside::look(context.config)?;
    let step = match (act, beside.stage()) {
        (HostKeyCommand::Rotate, Stage::Settled) => Step::Rotate,
        (HostKeyCommand::Rotate, Stage::Announced) => return Ok(told(Change::Unchanged, asked.json, context)?.into()),
        (HostKeyCommand::Rotate, Stage::Switched) => {
            let error = "the host key that was in use before is still announced";
            return Err(Failure::new(Exit::Failed, error).hint("wgmfa-bastion host-key retire"));
        }
        (HostKeyCommand::Switch { .. }, Stage::Settled) => {
            return Err(Failure::new(Exit::Failed, "there is no next host key").hint("wgmfa-bastion host-key rotate"));
        }
        (HostKeyCommand::Switch { .. }, Stage::Switched) => {
            return Ok(told(Change::Unchanged, asked.json, context)?.into());
        }
        (HostKeyCommand::Switch { force }, Stage::Announced) => {
            let unknowing = unknowing(&beside, context)?;
            if !force && !unknowing.is_empty() {
                let error = format!("hosts that do not know the next host key yet: {}", names(&unknowing));
                return Err(Failure::new(Exit::Failed, error).hint(
                    "they learn it at their next contact; those that will not come: host disable, or host-key switch --force \
                     and wgmfa-agent init --known-host there",
                ));
            }
            Step::Switch
        }
        (HostKeyCommand::Retire, Stage::Settled) => return Ok(told(Change::Unchanged, asked.json, context)?.into()),
        (HostKeyCommand::Retire, _) => Step::Retire,
    };
    // each PAM worker has the files covered that were there when it began
    Ok(after_logins::begin(Changing { step, json: asked.json }))
}

fn show(as_sshfp: bool, asked: &Asked<'_>, context: &Context<'_>) -> Answer {
    let (config, name) = (context.config, machine_name());
    if asked.json {
        let lines = |text: String| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let keys = |keys: &[russh::keys::ssh_key::PublicKey]| keys.iter().map(one_line).collect::<Vec<_>>();
        let beside = Beside::look(config)?;
        return Ok(shown(json_line(&serde_json::json!({
            "version": 1,
            "host_keys": keys(&public_keys(config)?),
            "next": keys(&beside.next),
            "old": keys(&beside.old),
            "without_next": unknowing(&beside, context)?,
            "known_hosts": lines(known_hosts(config, &name)?),
            "sshfp": lines(sshfp(config, &name)?),
        }))));
    }
    let lines = if as_sshfp { sshfp } else { known_hosts };
    Ok(shown(lines(config, &name)?))
}

/// The hosts that may come and have not said that they know every next key.
fn unknowing(beside: &Beside, context: &Context<'_>) -> Result<Vec<HostName>, Failure> {
    let next: Vec<String> = beside.next.iter().map(one_line).collect();
    let hosts = context.store.hosts()?.into_iter().filter(|host| !host.disabled && !host.owner_disabled);
    let knows = |host: &HostName| next.iter().all(|key| context.agents.knows_host_key(host, key));
    Ok(hosts.map(|host| host.name).filter(|host| !knows(host)).collect())
}

fn names(hosts: &[HostName]) -> String {
    hosts.iter().map(HostName::as_str).collect::<Vec<_>>().join(", ")
}

/// Where the change stands, and what comes next.
fn told(change: Change, json: bool, context: &Context<'_>) -> Result<Told, Failure> {
    let beside = Beside::look(context.config)?;
    let changed = change == Change::Made;
    let waiting = unknowing(&beside, context)?;
    if json {
        let stage = match beside.stage() {
            Stage::Settled => "settled",
            Stage::Announced => "announced",
            Stage::Switched => "switched",
        };
        return Ok(Told(json_line(&serde_json::json!({
            "version": 1, "changed": changed, "stage": stage, "without_next": waiting,
        }))));
    }
    let mut text = if changed { String::new() } else { "unchanged\n".to_owned() };
    text.push_str(&match beside.stage() {
        Stage::Settled => "one host key, and no change under way\n".to_owned(),
        Stage::Announced if waiting.is_empty() => {
            "the next host key is announced, and every host knows it\nnext: tell people, then wgmfa-bastion host-key switch\n"
                .to_owned()
        }
        Stage::Announced => format!(
            "the next host key is announced; hosts that do not know it yet: {}\nnext: when they do, wgmfa-bastion host-key \
             switch\n",
            names(&waiting)
        ),
        Stage::Switched => {
            "the new host key is in use, and the old one is still announced\nnext: wgmfa-bastion host-key retire\n".to_owned()
        }
    });
    Ok(Told(text))
}

/// What is said of a change.
struct Told(String);

impl From<Told> for Outcome {
    fn from(told: Told) -> Self {
        shown(told.0)
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Rotate,
    Switch,
    Retire,
}

/// One step.
#[derive(Debug)]
struct Changing {
    step: Step,
    json: bool,
}

impl Act for Changing {
    const HINT: &'static str = "try again";

    fn act(&self, context: &Context<'_>) -> Answer {
        let config = context.config;
        let fingerprints = |keys: &[russh::keys::ssh_key::PublicKey]| {
            keys.iter().map(|key| key.fingerprint(Default::default()).to_string()).collect::<Vec<_>>().join(", ")
        };
        let (event, reason) = match self.step {
            Step::Rotate => {
                make_next(config)?;
                (Event::HostKeyAnnounced, fingerprints(&Beside::look(config)?.next))
            }
            Step::Switch => {
                let before = fingerprints(&public_keys(config)?);
                switch(config)?;
                let now = fingerprints(&public_keys(config)?);
                (Event::HostKeySwitched, format!("{now} in the place of {before}"))
            }
            Step::Retire => {
                let Beside { next, old } = Beside::look(config)?;
                retire(config)?;
                (Event::HostKeyRetired, fingerprints(&[next, old].concat()))
            }
        };
        context.agents.take_host_keys()?;
        context.act(|actor| context.store.note(context.now, Note::new(event).actor(actor).reason(reason)))?;
        Ok(told(Change::Made, self.json, context)?.into())
    }
}
