//! What the firewall costs: one grant, and ten thousand, each as one transaction on a real table of nftables. No other
//! program takes part.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use wgmfa_agent::gate::{Backend, backend};
use wgmfa_benches::figure::{Bound, Figure, Report, Unit};
use wgmfa_core::document::Document;
use wgmfa_core::gate::{Addresses, CODE_PORT, Layout, Opening};
use wgmfa_core::tier::Tiers;
use wgmfa_tests::machine::{Machine, unique};

const MANY: usize = 10_000;

/// Samples of one grant, beside ten thousand that stand.
const ONE_BY_ONE: usize = 500;

/// Samples of ten thousand.
const ROUNDS: usize = 9;

const HOUR: Duration = Duration::from_secs(3600);

fn main() -> ExitCode {
    let machine = Machine::new(&unique());
    machine.within(|| measure(machine.folder()))
}

fn measure(state_dir: &Path) -> ExitCode {
    let mut gate = backend(Backend::Nftables, state_dir).expect("the kernel has nftables");
    let layout = layout();
    let all: Vec<Opening> = (0..MANY).map(opening).collect();
    let closing: Vec<_> = all.iter().map(|one| (one.addresses.clone(), one.tier.clone())).collect();
    let mut report = Report::default();
    let mut tell = |name, samples, bound| {
        report.tell(&Figure { name, unit: Unit::Milliseconds, samples, against: None, bound });
    };
    gate.install(&layout, &[]).expect("nft makes it");
    let opened = (0..ROUNDS).map(|_| {
        let took = time(|| gate.change(&all, &[]));
        gate.change(&[], &closing).expect("they are closed");
        took
    });
    tell("10,000 grants in one transaction", opened.collect(), Bound::Median(100.0));
    gate.change(&all, &[]).expect("they are opened");
    let renewed = (0..ROUNDS).map(|_| time(|| gate.change(&all, &[])));
    tell("the same 10,000, prolonged", renewed.collect(), Bound::Median(100.0));
    let one = (MANY..MANY + ONE_BY_ONE).map(|at| time(|| gate.change(&[opening(at)], &[])));
    tell("one grant beside 10,000 others", one.collect(), Bound::Median(1.0));
    let looked = (0..ONE_BY_ONE).map(|_| time(|| gate.intact()));
    tell("a look at a gate that nobody changed", looked.collect(), Bound::None);
    let flushed = (0..ROUNDS).map(|_| {
        machine_nft("flush ruleset");
        time(|| {
            gate.intact().expect_err("it is gone");
            gate.install(&layout, &all)
        })
    });
    tell("a flushed gate with 10,000 grants is noticed and made anew", flushed.collect(), Bound::None);
    gate.remove().expect("it can be removed");
    report.exit()
}

fn time(act: impl FnOnce() -> Result<(), String>) -> f64 {
    let since = Instant::now();
    act().expect("it can be done");
    since.elapsed().as_secs_f64() * 1000.0
}

fn machine_nft(words: &str) {
    let ended = std::process::Command::new("nft").args(words.split(' ')).status().expect("nft is installed");
    assert!(ended.success());
}

fn layout() -> Layout {
    let text =
        "[tier.0]\nallow = [\"10.0.0.1:22/tcp\"]\n[tier.prod]\nallow = [\"10.1.0.0/16\", \"10.2.0.5:443/tcp\"]\n";
    let mut document = Document::parse("agent.toml", text).expect("it is well formed");
    let tiers = Tiers::read(&mut document);
    document.finish().expect("it is complete");
    Layout { interfaces: ["wg0".parse().expect("a name")].into(), free: [].into(), tiers, code_port: CODE_PORT }
}

fn opening(at: usize) -> Opening {
    let network = format!("10.77.{}.{}/32", at / 250, at % 250 + 1).parse().expect("a network");
    let addresses = Addresses { interface: "wg0".parse().expect("a name"), network };
    Opening { addresses, tier: "prod".parse().expect("a name"), left: HOUR }
}
