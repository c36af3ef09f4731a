//! An agent that comes by cannot be told of a login. One that comes between the answer to its report and its deposit goes
//! first: the session keeps its key, and the next round learns of it.

use serde_json::json;
use wgmfa_tests::tunnel::genkey;

use super::site::{INTERFACE, Site};

#[test]
fn a_login_after_the_answer_to_a_report_keeps_its_key() {
    let mut site = Site::new();
    let device = site.justin.public_key().to_owned();
    let host = site.host("app-gw");
    let mut agent = host.connect(false);
    let key = agent.wait_with_keys(&[&device], 1).remove(0);
    let answer = agent.report(&[&device], Some(3600));
    assert_eq!(answer["assignments"][0]["standing"]["standing"], "waiting", "{answer:#}");
    let ended = site.justin.ssh(&["wgmfa-sync"]).ok();
    assert_eq!(ended.stdout, format!("{}\t{key}\n", host.keys.public));

    let which = json!({"interface": INTERFACE, "public_key": device, "generation": 2, "preshared_key": genkey()});
    agent.conversation.say_json(&json!({"type": "deposit", "deposits": [which]}));
    assert_eq!(agent.conversation.hear_json(), json!({"type": "stored", "deposits": []}));
    let row = site.bastion.key("justins-laptop");
    assert_eq!(row["generation"], 1);
    assert!(row["deadline"].is_string(), "{row:#}");

    // what it does in the knowledge of the session is its own affair: it may have locked the peer
    let answer = agent.report(&[&device], Some(3600));
    assert_eq!(answer["assignments"][0]["standing"]["standing"], "released", "{answer:#}");
    agent.deposit(&[&device], 2);
    agent.applied(&[&device], 2);
    assert_eq!(site.bastion.key("justins-laptop")["generation"], 2);
}
