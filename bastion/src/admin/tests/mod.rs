//! Commands on a real store: what people and programs read, and what the keeper is told to do.

mod acts;
mod gates;
mod keys;
mod ways;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::Path;

use jiff::SignedDuration;
use wgmfa_core::inventory::Interface;
use wgmfa_core::key::{PresharedKey, PublicKey};
use wgmfa_core::message::agent::{Deposit, HandshakeAge, PeerGeneration};

use super::*;
use crate::store::{Actor, CodeRule, Login, LoginId, Place, Report, SealingKey, Wanted};

/// What a command answered.
struct Said {
    out: String,
    err: String,
    exit: Option<u8>,
    orders: Vec<Order>,
}

impl Said {
    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap()
    }
}

/// A bastion with the gateway app-gw, the person justin and his laptop, under a policy of one hour.
struct Bastion {
    folder: tempfile::TempDir,
    store: Store,
    config: Config,
    policies: PolicySet,
    now: Cell<Timestamp>,
    connected: BTreeSet<HostName>,
}

const POLICY: &str =
    "description = \"Prod\"\nrotation-interval = \"1h\"\nmfa = true\nserver-peers = [\"app-gw/devices\"]\n";

const SSH_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

fn laptop() -> PublicKey {
    "ezi8yOz8uW/rZVM+88zTu79wzRa3bNPUXCahxDU9ebE=".parse().unwrap()
}

impl Agents for BTreeSet<HostName> {
    fn connected(&self, host: &HostName) -> bool {
        self.contains(host)
    }

    fn resident(&self, host: &HostName) -> bool {
        self.contains(host)
    }

    fn last_seen(&self, _host: &HostName) -> Option<Timestamp> {
        None
    }

    fn knows_host_key(&self, host: &HostName, _key: &str) -> bool {
        self.contains(host)
    }

    fn version(&self, _host: &HostName) -> Option<String> {
        None
    }

    fn take_host_keys(&self) -> Result<(), Failure> {
        Ok(())
    }
}

impl Bastion {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let mut config = Config::parse(Path::new("/e/bastion.toml"), "").unwrap();
        (config.state_dir, config.policy_dir, config.pam_dir) = (at("state"), at("policy.d"), Some(at("pam.d")));
        std::fs::create_dir(at("policy.d")).unwrap();
        std::fs::create_dir(at("pam.d")).unwrap();
        std::fs::write(at("policy.d/101-prod.toml"), POLICY).unwrap();
        std::fs::write(at("pam.d/pam_wgmfa.so"), "").unwrap();
        let module = at("pam.d/pam_wgmfa.so").display().to_string();
        std::fs::write(at("pam.d/wgmfa"), format!("auth required {module}\naccount required {module}\n")).unwrap();
        let store = Store::open(&config.state_dir, SealingKey::from_bytes([3; 32])).unwrap();
        let policies = crate::policies::load(&config.policy_dir).unwrap();
        // the store's time is never below the time at which it was made
        let now = Cell::new("2126-11-21T14:00:00Z".parse().unwrap());
        Self { folder, store, config, policies, now, connected: BTreeSet::new() }
    }

    /// The same with a gateway, a person and a device; the gateway has reported the device as its peer.
    fn with_a_connection() -> Self {
        let bastion = Self::new();
        bastion.good("user add justin --system-password");
        bastion.good_with("host add app-gw --key -", SSH_KEY);
        bastion.good(&format!("device add justins-laptop --owner justin --public-key {}", laptop()));
        bastion.report(&[]);
        bastion
    }

    fn pass(&self, seconds: i64) {
        self.now.set(self.now.get() + SignedDuration::from_secs(seconds));
    }

    fn ask_with(&self, line: &str, stdin: &str) -> Said {
        let request = AdminRequest {
            version: 1,
            words: line.split(' ').map(str::to_owned).collect(),
            stdin: Some(SecretText::new(stdin.to_owned())),
            terminal: false,
            colour: false,
        };
        let outcome = run(&request, &mut self.context());
        Said {
            out: outcome.reply.stdout.expose().to_owned(),
            err: outcome.reply.stderr,
            exit: outcome.reply.exit,
            orders: outcome.orders,
        }
    }

    fn ask(&self, line: &str) -> Said {
        self.ask_with(line, "")
    }

    fn good_with(&self, line: &str, stdin: &str) -> String {
        let said = self.ask_with(line, stdin);
        assert_eq!((said.exit, said.err.as_str()), (Some(0), ""), "{line}");
        said.out
    }

    fn good(&self, line: &str) -> String {
        self.good_with(line, "")
    }

    fn context(&self) -> Context<'_> {
        Context {
            store: &self.store,
            policies: &self.policies,
            policies_since: self.now.get(),
            config: &self.config,
            now: self.now.get(),
            system: self.now.get(),
            zone: TimeZone::fixed(jiff::tz::offset(1)),
            agents: &self.connected,
            actor: "root".to_owned(),
            from: None,
        }
    }

    fn gateway() -> HostName {
        "app-gw".parse().unwrap()
    }

    fn place() -> Place {
        Place { server_side: "app-gw/devices".parse().unwrap(), public_key: laptop() }
    }

    /// The gateway reports its interface, and when the laptop last shook hands.
    fn report(&self, handshake_ages: &[u64]) {
        self.report_key("null", handshake_ages);
    }

    /// The same, with what stands for the laptop's key there, as JSON.
    fn report_key(&self, fingerprint: &str, handshake_ages: &[u64]) {
        let json = format!(
            r#"{{"name": "devices", "public_key": "0KL4NMTMM64zrRyHASlga46ubmiUtDsayaTJyF/EUYA=", "peers":
                [{{"public_key": "{}", "allowed_ips": ["10.0.0.2/32"], "has_preshared_key": true,
                   "fingerprint": {fingerprint}}}]}}"#,
            laptop()
        );
        let interfaces: [Interface; 1] = [serde_json::from_str(&json).unwrap()];
        let age = |seconds: &u64| HandshakeAge { peer: Self::place().peer(), seconds: *seconds, before_change: false };
        let handshake_ages: Vec<_> = handshake_ages.iter().map(age).collect();
        let report = Report {
            interfaces: &interfaces,
            handshake_ages: &handshake_ages,
            next_in_seconds: None,
            stood_down: false,
        };
        self.store.report(self.now.get(), &Self::gateway(), &report).unwrap();
    }

    /// The gateway deposits and applies a generation.
    fn rotate(&self, generation: u64) {
        let which = PeerGeneration { peer: Self::place().peer(), generation };
        let preshared_key = PresharedKey::from_bytes([u8::try_from(generation).unwrap(); 32]).unwrap();
        let (now, host) = (self.now.get(), Self::gateway());
        let stored = self.store.deposit(now, &host, &[Deposit { which: which.clone(), preshared_key }]).unwrap();
        assert_eq!(stored, std::slice::from_ref(&which));
        assert_eq!(self.store.applied(now, &host, std::slice::from_ref(&which)).unwrap(), [which]);
    }

    /// Justin logs in and gets the generation for an hour.
    fn release(&self, generation: u64) {
        let now = self.now.get();
        let source = "192.0.2.7".parse().unwrap();
        let login =
            Login { id: LoginId::random(), user: "justin".parse().unwrap(), from: "192.0.2.7".to_owned(), source };
        let accepted = self.store.record_login(now, &login, CodeRule::Foreign).unwrap();
        assert_eq!(accepted, crate::store::Acceptance::Accept);
        let wanted = Wanted { place: Self::place(), generation, deadline: now + SignedDuration::from_hours(1) };
        let outcome = self.store.release(now, &login, "justins-laptop", &[wanted]).unwrap();
        assert_eq!(outcome.granted.len(), 1, "{outcome:?}");
    }
}
