//! A host that comes for the first time can turn a peer of another one into a connection that a policy covers: that other
//! host hears of it at once, not at its next round.

use super::site::Site;

#[test]
fn the_host_that_has_it_as_a_peer_does_a_round() {
    let site = Site::new();
    let (first, second) = (site.host("app-gw"), site.host("pi"));
    let mut resident = first.connect(true);
    resident.report(&[&second.keys.public], None);
    let mut newcomer = second.connect(true);
    newcomer.report(&[&first.keys.public], None);
    let order = resident.conversation.hear_json();
    assert_eq!((&order["type"], &order["reason"]), (&"round".into(), &"one of its peers is pi".into()), "{order}");

    // once is enough: what is known is no news
    resident.report(&[&second.keys.public], None);
    newcomer.report(&[&first.keys.public], None);
    resident.conversation.say_json(&serde_json::json!({"type": "ping"}));
    assert_eq!(resident.conversation.hear_json()["type"], "pong");
}
