//! The tables of keys, from which samples and man pages are made, say what the programs read: each key, each default.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use wgmfa_core::policy::PolicySet;
use wgmfa_packaging::files::{AGENT, BASTION, CLIENT, POLICY};
use wgmfa_packaging::keys::{File, Key, Without};
use wgmfa_packaging::sample;

/// Reads a text as the program does, and tells what it understood, or every fault.
type Read = fn(&str) -> Result<String, String>;

fn bastion(text: &str) -> Result<String, String> {
    let read = wgmfa_bastion::config::Config::parse(Path::new("/x"), text);
    read.map(|config| format!("{config:?}")).map_err(|faults| faults.to_string())
}

fn agent(text: &str) -> Result<String, String> {
    let read = wgmfa_agent::config::Config::parse(Path::new("/x"), text);
    read.map(|config| format!("{config:?}")).map_err(|faults| faults.to_string())
}

fn client(text: &str) -> Result<String, String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    std::fs::set_permissions(file.path(), PermissionsExt::from_mode(0o600)).unwrap();
    let read = wgmfa::config::Config::load(Some(file.path()), None);
    read.map(|config| format!("{config:?}")).map_err(|failure| failure.error)
}

fn policy(text: &str) -> Result<String, String> {
    let read = PolicySet::parse(&[("1-a.toml".to_owned(), text.to_owned())]);
    read.map(|set| format!("{:?}", set.policies())).map_err(|faults| faults.to_string())
}

const FILES: [(&File, Read); 4] = [(&BASTION, bastion), (&AGENT, agent), (&CLIENT, client), (&POLICY, policy)];

/// The keys without which the file is refused.
fn required(file: &File) -> String {
    let keys = file.tables[0].keys.iter().filter(|key| key.without == Without::Refused);
    keys.map(line).collect()
}

fn line(key: &Key) -> String {
    format!("{} = {}\n", key.name, key.value)
}

#[test]
fn each_key_alone_is_understood_and_means_what_holds_without_it() {
    for (file, read) in FILES {
        let bare = read(&required(file)).unwrap();
        for key in file.tables[0].keys.iter().filter(|key| key.without != Without::Refused) {
            let with = match (file.name, key.name) {
                // under mfa = false alone
                ("policy.toml", "peers") => read(&required(file).replace("true", "false").to_string())
                    .and_then(|_| read(&format!("{}{}", required(file).replace("true", "false"), line(key)))),
                ("policy.toml", "tier") => read(&format!("{}enforce = [\"firewall\"]\n{}", required(file), line(key))),
                _ => read(&format!("{}{}", required(file), line(key))),
            };
            let with = with.unwrap_or_else(|fault| panic!("{}: {}: {fault}", file.name, key.name));
            // what `client.toml` leaves open the command decides, so there a default shows as a difference
            if file.name != "client.toml" {
                assert_eq!(with == bare, key.without == Without::Default, "{}: {}: {with}", file.name, key.name);
            }
        }
        for missing in file.tables[0].keys.iter().filter(|key| key.without == Without::Refused) {
            let others: String = required(file).lines().filter(|line| !line.starts_with(missing.name)).collect();
            let fault = read(&others).unwrap_err();
            assert!(fault.contains(&format!("{} is required", missing.name)) || others.contains(" = "), "{fault}");
        }
    }
}

#[test]
fn the_programs_know_no_other_key() {
    for (file, read) in FILES {
        let described = |table: usize| file.tables[table].keys.iter().map(|key| key.name).collect::<Vec<_>>();
        assert_eq!(known(read, &required(file), ""), with_tables(file, described(0)), "{}", file.name);
    }
    let mut tier: Vec<_> = AGENT.tables[3].keys.iter().map(|key| key.name).collect();
    tier.sort_unstable();
    assert_eq!(known(agent, &required(&AGENT), "[tier.prod]\n"), tier);
}

/// The file's own keys, and `tier`, whose keys have tables of their own.
fn with_tables(file: &File, mut keys: Vec<&'static str>) -> Vec<&'static str> {
    if file.tables.len() > 1 {
        keys.push("tier");
    }
    keys.sort_unstable();
    keys
}

/// What the program lists when it meets a key that is like none of its own.
fn known(read: Read, required: &str, header: &str) -> Vec<String> {
    let fault = read(&format!("{required}{header}qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq = 1\n")).unwrap_err();
    let list = fault.lines().find_map(|line| line.split_once("; known here: ")).expect("it lists them").1;
    let mut names: Vec<String> = list.split(", ").map(str::to_owned).collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[test]
fn a_sample_with_every_comment_taken_away_is_understood() {
    for (file, read) in FILES.into_iter().filter(|(file, _)| file.is_sampled) {
        let sample = sample::of(file);
        assert!(sample.lines().all(|line| line.is_empty() || line.starts_with('#')), "{sample}");
        let text = |line: &&str| line.starts_with("# ");
        assert!(sample.lines().filter(text).all(|line| line.chars().count() <= 120), "{sample}");
        let keys = |line: &&str| line.starts_with('#') && !line.starts_with("# ");
        let text: String = sample.lines().filter(keys).map(|line| format!("{}\n", &line[1..])).collect();
        for table in file.tables {
            for key in table.keys {
                assert!(text.contains(&line(key)), "{}: {}", file.name, key.name);
            }
        }
        read(&text).unwrap_or_else(|faults| panic!("{}: {faults}", file.name));
    }
}

#[test]
fn every_option_of_the_pam_module_is_described() {
    let source = include_str!("../../pam_wgmfa/src/options.rs").split("#[cfg(test)]").next().unwrap();
    let plain = source.split("word == \"").skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_owned);
    let valued =
        source.split("Some((\"").skip(1).filter_map(|rest| rest.split('"').next()).map(|name| format!("{name}="));
    let known: Vec<String> = plain.chain(valued).collect();
    assert!(known.len() >= 7, "{known:?}");
    let described = |name: &String| {
        wgmfa_packaging::files::MODULE.options.iter().any(|(option, _)| option.starts_with(name.as_str()))
    };
    assert_eq!(known.iter().filter(|name| !described(name)).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn the_pam_service_of_the_package_is_the_one_that_the_page_shows() {
    assert_eq!(include_str!("../wgmfa.pam").trim_end(), wgmfa_packaging::files::MODULE.examples[0].1);
}
