//! `status`: how the bastion, its agents and its people are.

use jiff::SignedDuration;
use nix::sys::statvfs::statvfs;
use wgmfa_core::exit::{Exit, Failure, sanitise};

use super::answer::{Answer, json_line, with_exit};
use super::host::{is_overdue, last_seen};
use super::why::shut_out;
use super::{Asked, Context};
use crate::check::memory::Memory;
use crate::check::{Findings, clock, pam, people};
use crate::store::{Event, Filter, Head, HostRecord, Line, LostHead};

/// How many refusals are shown.
const REFUSALS: u32 = 5;

/// For so long an alarm about two endpoints is shown.
const ALARM_LASTS: SignedDuration = SignedDuration::from_hours(1);

/// So many alarms are shown.
const ALARMS: u32 = 20;

/// With less room than this in the state folder, in bytes, the bastion needs care.
const LEAST_ROOM: u64 = 100 * 1024 * 1024;

/// What is looked at, and what of it needs care.
struct Status {
    pam: Findings,
    /// Of the way by the site's own sshd.
    people: Findings,
    clock: Findings,
    /// Free bytes of the state folder's file system.
    room: Option<u64>,
    agents: Vec<AgentStatus>,
    locked: Vec<(String, String, jiff::Timestamp)>,
    refusals: Vec<Line>,
    log_head: Head,
    lost_heads: Vec<LostHead>,
    backed_up_at: Option<jiff::Timestamp>,
    /// Two endpoints took turns for a peer.
    alarms: Vec<Line>,
    /// People who can never log in, each with the reason.
    shut_out: Vec<String>,
}

struct AgentStatus {
    host: HostRecord,
    connected: bool,
    seen: Option<jiff::Timestamp>,
    late: bool,
}

/// Shows it; the exit status is 1 when something needs care.
///
/// # Errors
/// The store cannot be read.
pub fn run(asked: &Asked<'_>, context: &Context<'_>) -> Answer {
    let status = Status::read(context)?;
    let troubles = status.troubles();
    let exit = if troubles.is_empty() { Exit::Done } else { Exit::Failed };
    let text = if asked.json { status.json(&troubles, context) } else { status.text(&troubles, context) };
    Ok(with_exit(text, exit))
}

/// What of it `check` looks at.
///
/// # Errors
/// The store cannot be read.
pub fn memory(context: &Context<'_>) -> Result<Memory, Failure> {
    let status = Status::read(context)?.json(&[], context);
    Ok(serde_json::from_str(&status).expect("a part of what was just written"))
}

/// How far the system's clock may be behind the bastion's time before it is a fault, in seconds.
const CLOCK_TOLERANCE_SECONDS: i64 = 30;

/// How far the system's clock may be ahead of the last recorded time, in seconds: it is recorded at least once a minute,
/// unless it has run ahead of the time since boot.
const AHEAD_SECONDS: i64 = 180;

impl Status {
    fn read(context: &Context<'_>) -> Result<Self, Failure> {
        let store = context.store;
        let (mut pam, mut clock) = (Findings::default(), Findings::default());
        pam::check(context.config, &mut pam);
        let mut people = Findings::default();
        people::check(context.config, &mut people);
        clock::check(&mut clock);
        let behind = context.now.duration_since(context.system).as_secs();
        if behind > CLOCK_TOLERANCE_SECONDS && clock.faults.is_empty() {
            clock.fault(format!(
                "clock: {behind} s behind the last recorded time, so every one-time code is refused until then; set it, or wait; \
                 if that time was wrong: wgmfa-bastion clock reset --reason TEXT"
            ));
        }
        let ahead = context.system.duration_since(store.recorded_time()).as_secs();
        if store.is_time_limited() && ahead > AHEAD_SECONDS && clock.faults.is_empty() {
            clock.fault(format!(
                "clock: has jumped ahead by about {ahead} s since the bastion was started; restart it if the clock is right now"
            ));
        }
        let room = statvfs(&context.config.state_dir).ok();
        let agents = store.hosts()?.into_iter().map(|host| AgentStatus::of(host, context)).collect();
        let locked = store.all_guesses()?.into_iter().filter_map(|(user, source, pair)| {
            Some((user.to_string(), source.to_string(), pair.lock_at(context.now)?))
        });
        let in_tunnels = store.all_code_guesses()?.into_iter().filter_map(|tunnel| {
            let source = format!("inside a tunnel of {}", tunnel.host);
            Some((tunnel.person.to_string(), source, tunnel.record.lock_at(context.now)?))
        });
        let locked = locked.chain(in_tunnels);
        let mut refusals = Vec::new();
        for event in [Event::LoginRefused, Event::CodeRefused, Event::ReleaseRefused, Event::HostRefused] {
            refusals.extend(store.log(&Filter { event: Some(event), limit: Some(REFUSALS), ..Filter::default() })?);
        }
        refusals.sort_by_key(|line| line.seq);
        let newest = refusals.len().saturating_sub(REFUSALS as usize);
        Ok(Self {
            pam,
            people,
            clock,
            room: room.map(|room| room.blocks_available() * room.fragment_size()),
            agents,
            locked: locked.collect(),
            refusals: refusals.split_off(newest),
            log_head: store.log_head()?,
            lost_heads: store.lost_heads()?,
            backed_up_at: store.backed_up_at()?,
            shut_out: shut_out(context)?,
            alarms: store.log(&Filter {
                event: Some(Event::TwoEndpoints),
                since: Some(context.now.saturating_sub(ALARM_LASTS).unwrap_or_default()),
                limit: Some(ALARMS),
                ..Filter::default()
            })?,
        })
    }

    fn troubles(&self) -> Vec<String> {
        let faults = [&self.pam.faults, &self.people.faults, &self.clock.faults];
        let mut troubles: Vec<String> = faults.into_iter().flatten().cloned().collect();
        if self.room.is_some_and(|room| room < LEAST_ROOM) {
            troubles.push("disk: less than 100 MiB are left in the state folder".to_owned());
        }
        troubles.extend(self.lost_heads.iter().map(|lost| format!("log: {lost} (wgmfa-bastion log verify)")));
        for alarm in &self.alarms {
            let peer = alarm.connection.as_deref().unwrap_or("a peer");
            troubles.push(format!("{peer}: {}", alarm.reason.as_deref().unwrap_or("two endpoints take turns")));
        }
        for agent in &self.agents {
            let name = &agent.host.name;
            if agent.late {
                troubles.push(format!("{name}: its agent has not come"));
            }
            troubles.extend(agent.host.refused.iter().map(|refused| format!("{name}/{refused}")));
            if !agent.host.pending.is_empty() {
                troubles.push(format!("{name}: an interface key has changed (wgmfa-bastion host accept {name})"));
            }
        }
        troubles
    }

    fn text(&self, troubles: &[String], context: &Context<'_>) -> String {
        let when = context.when();
        let good = |findings: &Findings| if findings.faults.is_empty() { "good" } else { "faults" };
        let mut lines = vec![
            ("pam", format!("{}: {}", context.config.pam_file().display(), good(&self.pam))),
            ("clock", format!("{}: {}", when.moment(context.now), clock_words(&self.clock))),
            ("disk", self.room.map_or("not known".to_owned(), |room| format!("{} MiB left", room / (1024 * 1024)))),
            (
                "policies",
                format!("{}, since {}", context.policies.policies().len(), when.moment(context.policies_since)),
            ),
        ];
        let Head { seq, hash } = &self.log_head;
        lines.push(("log", format!("{seq} lines, the last one is {hash}")));
        let backup = self.backed_up_at.map_or("never made here".to_owned(), |made| format!("made {}", when.ago(made)));
        lines.push(("backup", backup));
        for agent in &self.agents {
            let seen = match (agent.host.disabled, agent.connected, agent.seen) {
                (true, ..) => "disabled".to_owned(),
                (false, true, _) => "connected".to_owned(),
                (false, false, Some(seen)) => format!("last seen {}", when.ago(seen)),
                (false, false, None) => "never seen".to_owned(),
            };
            lines.push(("agent", format!("{}: {seen}", agent.host.name)));
        }
        for (user, source, until) in &self.locked {
            lines.push(("locked", format!("{user} from {source} until {}", when.clock(*until))));
        }
        for line in &self.refusals {
            lines.push(("refused", refusal_words(line, &when.clock(line.time))));
        }
        for trouble in troubles {
            lines.push(("trouble", trouble.clone()));
        }
        lines.iter().map(|(what, text)| format!("{what:9} {}\n", sanitise(text).replace('\n', " "))).collect()
    }

    fn json(&self, troubles: &[String], context: &Context<'_>) -> String {
        let agents: Vec<_> = self
            .agents
            .iter()
            .map(|agent| {
                serde_json::json!({
                    "host": agent.host.name, "connected": agent.connected, "last_seen": agent.seen,
                    "late": agent.late, "disabled": agent.host.disabled,
                    "program": context.agents.version(&agent.host.name),
                })
            })
            .collect();
        let locked: Vec<_> = self
            .locked
            .iter()
            .map(|(user, source, until)| serde_json::json!({ "user": user, "source": source, "until": until }))
            .collect();
        let lost: Vec<_> = self
            .lost_heads
            .iter()
            .map(|lost| serde_json::json!({ "host": lost.host, "seq": lost.head.seq, "hash": lost.head.hash }))
            .collect();
        json_line(&serde_json::json!({
            "version": 1,
            "ok": troubles.is_empty(),
            "troubles": troubles,
            "pam": { "file": context.config.pam_file().display().to_string(), "faults": self.pam.faults },
            "clock": { "now": context.now, "synchronised": clock::synchronised(), "faults": self.clock.faults },
            "disk": { "bytes_left": self.room },
            "policies": { "count": context.policies.policies().len(), "since": context.policies_since },
            "log": { "head": self.log_head, "lost": lost },
            "backup": { "made": self.backed_up_at },
            "shut_out": self.shut_out,
            "agents": agents,
            "locked": locked,
            "refusals": self.refusals,
            "alarms": self.alarms,
        }))
    }
}

impl AgentStatus {
    fn of(host: HostRecord, context: &Context<'_>) -> Self {
        let (connected, seen) = (context.agents.connected(&host.name), last_seen(&host, context));
        Self { late: is_overdue(&host, context), connected, seen, host }
    }
}

fn clock_words(findings: &Findings) -> &'static str {
    match (findings.faults.is_empty(), clock::synchronised()) {
        (false, _) => "faults",
        (true, Some(true)) => "synchronised",
        (true, Some(false)) => "not synchronised yet",
        (true, None) => "whether it is synchronised cannot be told here",
    }
}

fn refusal_words(line: &Line, clock: &str) -> String {
    let who = line.user.as_ref().or(line.actor.as_ref()).or(line.host.as_ref()).map_or("somebody", String::as_str);
    let from = line.from.as_ref().map(|from| format!(" from {from}")).unwrap_or_default();
    let reason = line.reason.as_deref().unwrap_or("no reason recorded");
    format!("{clock} {who}{from}: {reason}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_tells_its_real_reason() {
        let line = Line {
            seq: 1,
            time: "2026-11-21T14:55:00Z".parse().unwrap(),
            event: "login-refused".to_owned(),
            user: Some("justin".to_owned()),
            actor: None,
            from: Some("192.0.2.7".to_owned()),
            host: None,
            device: None,
            connection: None,
            generation: None,
            reason: Some("the code was used already".to_owned()),
            hash: String::new(),
        };
        assert_eq!(refusal_words(&line, "15:55"), "15:55 justin from 192.0.2.7: the code was used already");
        let line = Line { user: None, actor: Some("root".to_owned()), from: None, ..line };
        assert_eq!(refusal_words(&line, "15:55"), "15:55 root: the code was used already", "an administrator's act");
    }
}
