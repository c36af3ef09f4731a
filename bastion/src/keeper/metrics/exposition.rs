//! The text that Prometheus reads: exposition format 0.0.4.

use std::fmt::{Display, Write as _};

use jiff::Timestamp;
use wgmfa_core::state::KeyState;

use super::{Histogram, Measures};
use crate::admin::is_overdue;
use crate::keeper::Keeper;
use crate::keeper::caller::By;
use crate::store::{Event, FILE_NAME, HostRecord, StoreError};

/// Series under construction.
#[derive(Default)]
pub struct Exposition(String);

impl Exposition {
    /// The whole text.
    pub fn text(self) -> String {
        self.0
    }

    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<_> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }

    /// A series without labels.
    fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.family(name, "histogram", help);
        let counts = histogram.cumulative();
        let bucket = format!("{name}_bucket");
        for (bound, count) in histogram.bounds.iter().zip(&counts) {
            self.sample(&bucket, &[("le", &bound.to_string())], count);
        }
        let all = counts.last().copied().unwrap_or_default();
        self.sample(&bucket, &[("le", "+Inf")], all);
        self.sample(&format!("{name}_sum"), &[], histogram.sum());
        self.sample(&format!("{name}_count"), &[], all);
    }

    /// What was counted since the start.
    pub(super) fn measures(&mut self, measures: &Measures) {
        let name = "wgmfa_refusals_total";
        self.family(
            name,
            "counter",
            "Refused logins, refused codes inside tunnels, and what was not released to a login, by kind of reason.",
        );
        for ((what, kind), count) in measures.refused.borrow().iter() {
            self.sample(name, &[("what", what), ("reason", kind)], count);
        }
        let name = "wgmfa_grants_total";
        self.family(name, "counter", "Tiers that gateways were to open, by how that was granted.");
        for (by, count) in measures.grants.borrow().iter() {
            self.sample(name, &[("by", by.as_str())], count);
        }
        let help = "From a person's last answer to the accepted login, in seconds.";
        self.histogram("wgmfa_login_seconds", help, &measures.login);
        let help = "How late new generations were applied, from when the ones before them were over, in seconds.";
        self.histogram("wgmfa_rotation_lag_seconds", help, &measures.rotation_lag);
        let help = "From a session's deadline to the server side's word that nobody comes in any more, in seconds.";
        self.histogram("wgmfa_deadline_to_lock_seconds", help, &measures.deadline_to_lock);
    }

    fn states(&mut self, keeper: &Keeper) -> Result<(), StoreError> {
        let (name, counts) = ("wgmfa_connections", keeper.store.count_states()?);
        self.family(name, "gauge", "Connections by the state of their key.");
        for state in KeyState::ALL {
            let count = counts.get(state.name()).copied().unwrap_or_default();
            self.sample(name, &[("state", state.name())], count);
        }
        Ok(())
    }

    fn log(&mut self, keeper: &Keeper) -> Result<(), StoreError> {
        let lines = keeper.store.count_lines()?;
        let count = |event: Event| lines.get(event.as_str()).copied().unwrap_or_default();
        let name = "wgmfa_releases_total";
        self.family(name, "counter", "Keys released to people, by whether a session began or was renewed.");
        self.sample(name, &[("kind", "first")], count(Event::Released));
        self.sample(name, &[("kind", "renewal")], count(Event::Renewed));
        let name = "wgmfa_audit_events_total";
        self.family(name, "counter", "Lines written to the audit log, by event.");
        for event in Event::ALL {
            self.sample(name, &[("event", event.as_str())], count(*event));
        }
        let head = keeper.store.log_head()?;
        self.single("wgmfa_audit_log_lines", "gauge", "The number of the audit log's last line.", head.seq);
        Ok(())
    }

    fn agents(&mut self, keeper: &Keeper, now: Timestamp) -> Result<(), StoreError> {
        let hosts = keeper.store.hosts()?;
        let in_use: Vec<&HostRecord> = hosts.iter().filter(|host| !host.disabled && !host.owner_disabled).collect();
        let connected = keeper.links.borrow().values().filter(|link| link.resident).count();
        let (overdue, silence) = keeper.with_admin(&By::root(), |context| {
            let overdue = in_use.iter().filter(|host| is_overdue(host, context)).count();
            let seen = in_use.iter().filter_map(|host| context.agents.last_seen(&host.name));
            (overdue, seen.map(|seen| now.duration_since(seen).as_secs_f64().max(0.0)).fold(0.0, f64::max))
        });
        self.single("wgmfa_hosts", "gauge", "Hosts that are registered and not cut off.", in_use.len());
        self.single("wgmfa_agents_connected", "gauge", "Resident agents that are connected.", connected);
        self.single("wgmfa_hosts_overdue", "gauge", "Hosts whose agent should have come by now.", overdue);
        let help = "For how long the host that was silent longest was not heard, in seconds.";
        self.single("wgmfa_agent_silence_seconds_max", "gauge", help, silence);
        Ok(())
    }
}

impl Keeper {
    /// Everything that can be measured now.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(super) fn exposition(&self) -> Result<String, StoreError> {
        let (mut exposition, now) = (Exposition::default(), self.now());
        exposition.states(self)?;
        exposition.log(self)?;
        exposition.measures(&self.measures);
        exposition.agents(self, now)?;
        let help = "Peers for which two endpoints took turns in the last hour: their private key is in two places.";
        exposition.single("wgmfa_peers_with_two_endpoints", "gauge", help, self.measures.alarms(now));
        let size = |name: &str| std::fs::metadata(self.config.state_dir.join(name)).map_or(0, |file| file.len());
        let bytes = size(FILE_NAME) + size(&format!("{FILE_NAME}-wal"));
        exposition.single("wgmfa_store_bytes", "gauge", "Size of the store, in bytes.", bytes);
        let behind = now.duration_since(Timestamp::now()).as_secs_f64().max(0.0);
        let help = "How far the system's clock is behind the last recorded time, in seconds: it was set back.";
        exposition.single("wgmfa_clock_behind_seconds", "gauge", help, behind);
        Ok(exposition.text())
    }
}
