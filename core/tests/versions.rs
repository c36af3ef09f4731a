//! Messages of each released version, as they were recorded: this version reads them, also with fields that it does not
//! know, and what it writes in their place holds all that they held, so that the other version reads it too.

#![allow(clippy::disallowed_methods)] // a test reads its files itself

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use wgmfa_core::message::admin::{AdminReply, AdminRequest};
use wgmfa_core::message::agent::{FromAgent, ToAgent};
use wgmfa_core::message::module::{FromModule, ToModule};
use wgmfa_core::message::sync::{Changed, ClientAnswer, ClientHello, Release};
use wgmfa_core::message::{decode, encode};

/// The messages of one kind in every version's folder: the version, and each line.
fn recorded(kind: &str) -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/versions");
    let mut lines = Vec::new();
    for version in std::fs::read_dir(folder).expect("recorded messages").flatten().filter(|entry| entry.path().is_dir())
    {
        let name = version.file_name().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(version.path().join(format!("{kind}.jsonl")));
        for line in text.unwrap_or_default().lines() {
            lines.push((
                name.clone(),
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{name}/{kind}: {error}")),
            ));
        }
    }
    assert!(!lines.is_empty(), "no {kind} was recorded");
    lines
}

/// The same with a field in each object that nobody knows.
fn of_tomorrow(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut more: serde_json::Map<_, _> =
                fields.iter().map(|(name, value)| (name.clone(), of_tomorrow(value))).collect();
            more.insert("of-tomorrow".to_owned(), json!({"any": ["thing"]}));
            Value::Object(more)
        }
        Value::Array(values) => Value::Array(values.iter().map(of_tomorrow).collect()),
        other => other.clone(),
    }
}

/// Whether one value holds all that another one held.
fn holds(new: &Value, old: &Value) -> bool {
    match (new, old) {
        (Value::Object(new), Value::Object(old)) => {
            old.iter().all(|(name, old)| match new.get(name) {
                Some(new) => holds(new, old),
                // what stands for nothing may be left out
                None => old.is_null() || *old == json!(false) || *old == json!([]),
            })
        }
        (Value::Array(new), Value::Array(old)) => {
            new.len() == old.len() && new.iter().zip(old).all(|(new, old)| holds(new, old))
        }
        (new, old) => new == old,
    }
}

/// Reads and writes every recorded message of a kind; gives the names of their types.
fn speak<T: DeserializeOwned + Serialize>(kind: &str) -> BTreeSet<String> {
    let mut types = BTreeSet::new();
    for (version, old) in recorded(kind) {
        let read = |line: &Value| {
            let message: T =
                decode(line.to_string().as_bytes()).unwrap_or_else(|error| panic!("{version}: {error}: {line}"));
            serde_json::from_slice::<Value>(&encode(&message)).expect("it was just written")
        };
        let written = read(&old);
        assert!(holds(&written, &old), "{version}: {old}\nbecame {written}");
        assert_eq!(read(&of_tomorrow(&old)), written, "{version}: with fields that nobody knows");
        types.extend(old["type"].as_str().map(str::to_owned));
    }
    types
}

fn names(list: &str) -> BTreeSet<String> {
    list.split(' ').map(str::to_owned).collect()
}

#[test]
fn agent_and_bastion_of_other_versions_understand_each_other() {
    let to_agent = speak::<ToAgent>("to-agent");
    assert!(
        to_agent.is_superset(&names("challenge welcome assignments stored noted open lock round pong refused")),
        "{to_agent:?}"
    );
    let from_agent = speak::<FromAgent>("from-agent");
    assert!(from_agent.is_superset(&names("hello report deposit applied opened locked ping")), "{from_agent:?}");
    // reports are read by a way of their own
    for (version, line) in recorded("from-agent") {
        let [plain, more] = [&line, &of_tomorrow(&line)].map(|line| FromAgent::decode(line.to_string().as_bytes()));
        assert_eq!(encode(&plain.expect("a message")), encode(&more.expect("a message")), "{version}: {line}");
    }
}

#[test]
fn client_and_bastion_of_other_versions_understand_each_other() {
    speak::<ClientHello>("client-hello");
    speak::<ClientAnswer>("client-answer");
    speak::<Release>("release");
    speak::<Changed>("changed");
}

#[test]
fn what_runs_and_what_was_just_installed_understand_each_other() {
    speak::<FromModule>("from-module");
    speak::<ToModule>("to-module");
    speak::<AdminRequest>("admin-request");
    speak::<AdminReply>("admin-reply");
}
