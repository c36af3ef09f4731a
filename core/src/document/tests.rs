//! What broken files look like to a person.

use super::*;

/// What a program with two keys, a list and a table says about a text.
fn faults(text: &str) -> String {
    let read = |text| {
        let mut document = Document::parse("a.toml", text)?;
        let bastion = document.string("bastion");
        document.required("bastion", bastion);
        document.boolean("manage-files");
        document.strings("interfaces");
        document.parsed::<crate::interval::Interval>("warn-before");
        document.tables("tier", |_, tier| tier.strings("allow"));
        document.finish()
    };
    read(text).expect_err("it is broken").to_string()
}

#[test]
fn a_good_file_gives_its_values_with_their_places() {
    let text = "bastion = \"b:22\"\nmanage-files = false\ninterfaces = [\"wg0\", 'wg1']\n[tier.prod]\nallow = [\"10.0.0.0/8\"]\n";
    let mut document = Document::parse("a.toml", text).unwrap();
    let place = Span { start: 10, end: 16 };
    assert_eq!(document.string("bastion"), Some(Placed { value: "b:22".to_owned(), place }));
    assert!(!document.boolean("manage-files").unwrap().value);
    let interfaces = document.strings("interfaces").unwrap();
    assert_eq!(interfaces.value[1].value, "wg1");
    assert_eq!(interfaces.value[1].place, Span { start: 59, end: 64 });
    let tiers =
        document.tables("tier", |name, tier| (name.to_owned(), tier.strings("allow").map(|list| list.value.len())));
    assert_eq!(tiers[0].value, ("prod".to_owned(), Some(1)));
    assert_eq!(document.string("absent"), None);
    document.finish().unwrap();
}

#[test]
fn every_fault_is_shown_with_its_place_its_line_and_an_underline() {
    assert_eq!(
        faults("bastoin = \"b\"\nmanage-files = \"no\"\ninterfaces = [\"wg0\", 1]\nwarn-before = \"10\"\n"),
        "a.toml: bastion is required
a.toml:1:1: unknown key bastoin, did you mean bastion?
    bastoin = \"b\"
    ^^^^^^^
a.toml:2:16: manage-files must be true or false
    manage-files = \"no\"
                   ^^^^
a.toml:3:22: interfaces must be a list of strings
    interfaces = [\"wg0\", 1]
                         ^
a.toml:4:15: warn-before: write a length of time as 30s, 10m, 1h, 1d or 1d12h
    warn-before = \"10\"
                  ^^^^
5 faults"
    );
}

#[test]
fn a_wrong_value_of_a_required_key_is_reported_once() {
    assert_eq!(
        faults("bastion = 1"),
        "a.toml:1:11: bastion must be a string\n    bastion = 1\n              ^\n1 fault"
    );
}

#[test]
fn tables_have_their_own_keys() {
    assert_eq!(
        faults("bastion = \"\"\n[tier.prod]\nalow = []\n[tier]\ndev = 1"),
        "a.toml:3:1: unknown key tier.prod.alow, did you mean allow?
    alow = []
    ^^^^
a.toml:5:1: tier.dev must be a table
    dev = 1
    ^^^
2 faults"
    );
}

#[test]
fn a_key_far_from_all_others_gets_no_suggestion() {
    assert!(faults("bastion = \"\"\nzzz = 1").contains("unknown key zzz; known here: bastion"));
    assert!(faults(&format!("bastion = \"\"\n{} = 1", "b".repeat(5000))).contains("unknown key bbbb"));
}

#[test]
fn syntax_faults_and_duplicate_keys_have_places_too() {
    assert_eq!(
        faults("bastion = \"b\nmanage-files = true\nmanage-files = false\n"),
        "a.toml:1:13: invalid basic string, expected `\"`
    bastion = \"b
                ^
a.toml:3:1: duplicate key
    manage-files = false
    ^^^^^^^^^^^^
2 faults"
    );
}

#[test]
fn garbage_gives_few_faults_and_nothing_that_steers_a_terminal() {
    let garbage: String = (0..5000u32).map(|i| char::from_u32(i * 7919 % 0x2fff).unwrap_or('\u{1b}')).collect();
    let shown = faults(&garbage);
    assert!(shown.lines().count() <= 3 * MOST_SYNTAX_FAULTS + 1, "{shown}");
    assert!(!shown.contains('\u{1b}') && !shown.contains('\u{9b}'));
}

#[test]
fn a_large_broken_file_costs_little_and_gives_few_faults() {
    let mebibyte = 1 << 20;
    for junk in ["]\n", "] ", "= = \"\n"] {
        let shown = faults(&junk.repeat(mebibyte / junk.len()));
        assert!(shown.lines().count() <= 3 * MOST_SYNTAX_FAULTS + 1, "{shown}");
    }
    let wrong = format!("list = [{}]", "1, ".repeat(mebibyte / 3));
    let mut document = Document::parse("a.toml", &wrong).unwrap();
    document.strings("list");
    let faults = document.finish().unwrap_err();
    assert_eq!(faults.as_slice().len(), MOST_FAULTS + 1);
    assert!(
        faults.to_string().starts_with("a.toml: more than 100 faults, the others are not told\na.toml:1:9: list must")
    );
    assert!(faults.as_slice().iter().all(|fault| fault.source_line.len() <= 200));
}

#[test]
fn characters_are_counted_not_bytes() {
    assert_eq!(
        faults("\tbastion = \"äöü\"; x"),
        "a.toml:1:17: unexpected key or value, expected newline, `#`\n    \tbastion = \"äöü\"; x\n    \t               ^\n1 fault"
    );
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC*|[a-z =\"'\\[\\]\n\t\r#.{},0-9\\\\-]{0,80}") {
        if let Err(faults) = Document::parse("a.toml", &text) {
            let _ = faults.to_string();
        }
    }
}

#[test]
fn a_port_is_a_number_that_can_be_one() {
    let port = |text: &str| {
        let mut document = Document::parse("a.toml", text).unwrap();
        let port = document.port("code-port").map(|port| port.value);
        document.finish().map(|()| port).map_err(|faults| faults.to_string())
    };
    assert_eq!(port("code-port = 7777"), Ok(Some(7777)));
    assert_eq!(port(""), Ok(None));
    for bad in ["0", "65536", "-1", "\"7777\"", "77.7", "99999999999999999999999"] {
        let shown = port(&format!("code-port = {bad}")).unwrap_err();
        assert!(shown.starts_with("a.toml:1:13: code-port must be a port: 1 to 65535\n"), "{shown}");
    }
}
