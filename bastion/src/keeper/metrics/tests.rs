//! The text is what Prometheus reads, and the server answers one thing.

use super::exposition::Exposition;
use super::*;

#[test]
fn a_histogram_counts_what_is_at_most_as_long() {
    let histogram = Histogram::new(&[0.5, 1.0]);
    for seconds in [0.2, 0.5, 0.7, 60.0] {
        histogram.observe(seconds);
    }
    assert_eq!(histogram.cumulative(), [2, 3, 4]);
    assert!((histogram.sum() - 61.4).abs() < 1e-9);
}

#[test]
fn every_series_of_refusals_is_there_from_the_beginning_and_holds_no_name() {
    let measures = Measures::new();
    measures.note_refused_login("password wrong");
    measures.note_refused_login("justin's own words");
    measures.note_refused_code("code already used");
    measures.note_grants(GrantedBy::Code, 2);
    measures.login.observe(0.02);
    let mut exposition = Exposition::default();
    exposition.measures(&measures);
    let text = exposition.text();
    for line in [
        "# TYPE wgmfa_refusals_total counter\n",
        "wgmfa_refusals_total{what=\"login\",reason=\"password-wrong\"} 1\n",
        "wgmfa_refusals_total{what=\"login\",reason=\"other\"} 1\n",
        "wgmfa_refusals_total{what=\"release\",reason=\"host-overdue\"} 0\n",
        "wgmfa_refusals_total{what=\"code\",reason=\"code-used\"} 1\n",
        "wgmfa_refusals_total{what=\"code\",reason=\"locked\"} 0\n",
        "wgmfa_grants_total{by=\"ssh\"} 0\nwgmfa_grants_total{by=\"code\"} 2\nwgmfa_grants_total{by=\"override\"} 0\n",
        "# TYPE wgmfa_login_seconds histogram\n",
        "wgmfa_login_seconds_bucket{le=\"0.01\"} 0\nwgmfa_login_seconds_bucket{le=\"0.025\"} 1\n",
        "wgmfa_login_seconds_bucket{le=\"+Inf\"} 1\nwgmfa_login_seconds_sum 0.02\nwgmfa_login_seconds_count 1\n",
    ] {
        assert!(text.contains(line), "{line}\n--- not in\n{text}");
    }
    assert!(!text.contains("justin"), "{text}");
}

#[test]
fn an_alarm_is_news_once_an_hour() {
    let (measures, start) = (Measures::new(), Timestamp::UNIX_EPOCH);
    let place = |seed| Place {
        server_side: "app-gw/devices".parse().unwrap(),
        public_key: wgmfa_core::key::PublicKey::from_bytes([seed; 32]),
    };
    let at = |minutes| start + SignedDuration::from_mins(minutes);
    assert!(measures.note_alarm(&place(1), at(0)));
    assert!(!measures.note_alarm(&place(1), at(59)));
    assert!(measures.note_alarm(&place(2), at(59)));
    assert_eq!(measures.alarms(at(59)), 2);
    assert_eq!(measures.alarms(at(60)), 1);
    assert!(measures.note_alarm(&place(1), at(60)));
}

#[test]
fn nothing_but_the_metrics_is_served() {
    let asked = |line: &str| http::asked(format!("{line}\r\nHost: x\r\n\r\n").as_bytes());
    assert_eq!(asked("GET /metrics HTTP/1.1"), Ok(()));
    assert_eq!(asked("GET /metrics?x=y HTTP/1.0"), Ok(()));
    assert_eq!(asked("GET / HTTP/1.1"), Err("404 Not Found"));
    assert_eq!(asked("GET /metrics/../etc HTTP/1.1"), Err("404 Not Found"));
    assert_eq!(asked("POST /metrics HTTP/1.1"), Err("405 Method Not Allowed"));
    assert_eq!(asked("GET /metrics"), Err("400 Bad Request"));
    assert_eq!(asked(""), Err("400 Bad Request"));
}
