//! An agent of a later version of the conversation is refused by the bastion with words that say what to do, whatever else
//! its first line says; an agent that says more than this bastion knows is not.

use serde_json::json;

use super::site::Site;

#[test]
fn a_later_conversation_is_refused_and_a_later_program_is_not() {
    let site = Site::new();
    let host = site.host("app-gw");
    let (mut agent, _) = host.challenged();
    agent.say_json(&json!({"type": "hello", "version": 2, "of": {"tomorrow": [1, 2]}}));
    let answer = agent.hear_json();
    assert_eq!(answer["type"], "refused");
    let reason = answer["reason"].as_str().expect("a text");
    assert!(
        reason.starts_with("the other side speaks version 2 of the agents' conversation, this program version 1: ")
    );
    assert!(reason.contains("at most one minor version apart: bring the older one forward"), "{reason}");
    assert_eq!(agent.hear(), None, "it is hung up on");

    let (mut agent, nonce) = host.challenged();
    let mut hello = host.hello("app-gw", &nonce, false);
    hello["program"] = json!("0.2.0");
    hello["of"] = json!({"tomorrow": true});
    agent.say_json(&hello);
    assert_eq!(agent.hear_json()["type"], "welcome");
    let hosts = site.bastion.admin(&["--json", "host", "list"]).ok().json();
    assert_eq!(hosts["hosts"][0]["version"], "0.2.0");
}
