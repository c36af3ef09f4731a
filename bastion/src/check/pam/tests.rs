use std::fs::write;

use super::*;

/// What is found in a stack of these files; the first one is the service.
fn findings(files: &[(&str, &str)], change: impl FnOnce(&mut Config)) -> Findings {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        write(folder.path().join(name), text).unwrap();
    }
    let module = folder.path().join("pam_wgmfa.so");
    write(&module, "").unwrap();
    let mut config = Config::parse(Path::new("/e/bastion.toml"), "").unwrap();
    config.pam_dir = Some(folder.path().to_owned());
    change(&mut config);
    let mut findings = Findings::default();
    for (name, text) in files {
        write(folder.path().join(name), text.replace("pam_wgmfa.so", module.to_str().unwrap())).unwrap();
    }
    check(&config, &mut findings);
    let plain = |text: &String| text.replace(&format!("{}/", folder.path().display()), "");
    Findings {
        faults: findings.faults.iter().map(plain).collect(),
        warnings: findings.warnings.iter().map(plain).collect(),
        notes: Vec::new(),
    }
}

fn faults(service: &str) -> Vec<String> {
    findings(&[("wgmfa", service)], |_| {}).faults
}

const ACCOUNT: &str = "account required pam_wgmfa.so\n";

#[test]
fn the_stack_that_init_writes_is_good() {
    assert_eq!(faults(&format!("auth required pam_wgmfa.so\n{ACCOUNT}session required pam_wgmfa.so\n")), [""; 0]);
}

#[test]
fn a_missing_service_file_is_a_fault() {
    let found = findings(&[("common-auth", "")], |_| {}).faults;
    let text = "wgmfa: no such PAM service file: PAM would take the service 'other' in its place (wgmfa-bastion init makes it)";
    assert_eq!(found, [text]);
}

#[test]
fn a_stack_that_lets_a_single_factor_pass_is_a_fault() {
    for (auth, fault) in [
        (
            "auth sufficient pam_unix.so\nauth required pam_wgmfa.so\n",
            "wgmfa:1: 'sufficient' before pam_wgmfa.so lets a single factor pass (make it 'required')",
        ),
        (
            "# everyone\nauth [success=done default=ignore] pam_permit.so\nauth required pam_wgmfa.so\n",
            "wgmfa:2: '[success=done default=ignore]' before pam_wgmfa.so lets a single factor pass (make it 'required')",
        ),
        (
            "auth [success=1 \\\n default=ignore] pam_unix.so\nauth required pam_wgmfa.so otp\nauth required pam_permit.so\n",
            "wgmfa:1: '[success=1   default=ignore]' jumps over pam_wgmfa.so and lets a single factor pass",
        ),
        (
            "auth required pam_permit.so\nauth required pam_wgmfa.so otp\n",
            "wgmfa:2: the stack asks for a code and for no password: it lets a single factor pass",
        ),
        (
            "auth required pam_wgmfa.so password\n",
            "wgmfa:1: pam_wgmfa.so does not ask for the code: every login will be refused",
        ),
        (
            "auth sufficient pam_wgmfa.so\nauth required pam_permit.so\n",
            "wgmfa:1: pam_wgmfa.so is 'sufficient', so its refusal does not end the login (make it 'required')",
        ),
        (
            "auth required pam_permit.so\n",
            "wgmfa: pam_wgmfa.so is not in the auth stack: every login will be refused (auth required pam_wgmfa.so)",
        ),
        (
            "oath required pam_wgmfa.so\nauth required pam_wgmfa.so\n",
            "wgmfa:1: begins with none of auth, account, password, session",
        ),
    ] {
        assert_eq!(faults(&format!("{auth}{ACCOUNT}")), [fault], "{auth}");
    }
}

#[test]
fn a_password_module_in_front_and_the_code_behind_it_are_good() {
    let common =
        "auth [success=1 default=ignore] pam_unix.so nullok\nauth requisite pam_deny.so\nauth required pam_permit.so\n";
    for include in ["@include common-auth\n", "auth include common-auth\n", "auth substack common-auth\n"] {
        let service = format!("{include}auth required pam_wgmfa.so otp use_first_pass\n{ACCOUNT}");
        assert_eq!(findings(&[("wgmfa", &service), ("common-auth", common)], |_| {}).faults, [""; 0], "{include}");
    }
    let service = format!("auth substack one\nauth [success=ok default=die] pam_wgmfa.so otp\n{ACCOUNT}");
    let one = "auth sufficient pam_unix.so\nauth required pam_deny.so\n";
    assert_eq!(findings(&[("wgmfa", &service), ("one", one)], |_| {}).faults, [""; 0]);
}

#[test]
fn a_module_that_asks_where_no_keeper_listens_is_a_fault() {
    let service = format!("auth required pam_wgmfa.so socket=/elsewhere/keeper.sock\n{ACCOUNT}");
    let fault = |line: u32, asks: &str, listens: &str| {
        format!(
            "wgmfa:{line}: pam_wgmfa.so asks the keeper at {asks}/keeper.sock, which listens at {listens}/keeper.sock: \
             every login will be refused (socket={listens}/keeper.sock)"
        )
    };
    assert_eq!(faults(&service), [fault(1, "/elsewhere", "/run/wgmfa")]);
    let found = findings(&[("wgmfa", &service)], |config| config.run_dir = "/elsewhere".into());
    assert_eq!(found.faults, [fault(2, "/run/wgmfa", "/elsewhere")]);
}

#[test]
fn a_code_alone_is_good_behind_an_ssh_key() {
    let service = format!("auth required pam_wgmfa.so otp\n{ACCOUNT}");
    let found = findings(&[("wgmfa", &service)], |config| config.first_factor = FirstFactor::Publickey);
    assert_eq!(found, Findings::default());
}

#[test]
fn a_missing_account_stack_and_a_missing_module_are_faults() {
    assert_eq!(
        faults("auth required /nowhere/pam_wgmfa.so\n")
            .iter()
            .map(|fault| fault.replace("/nowhere/", ""))
            .collect::<Vec<_>>(),
        [
            "wgmfa: no account line: PAM would take the service 'other' in its place (account required pam_wgmfa.so)",
            "pam_wgmfa.so: no such PAM module on this machine"
        ]
    );
}

#[test]
fn without_a_front_the_stack_of_sshd_is_looked_at_too() {
    let own = format!("auth required pam_wgmfa.so\n{ACCOUNT}");
    let with = |files: &[(&str, &str)]| {
        findings(&[&[("wgmfa", own.as_str())], files].concat(), |config| config.listen = Vec::new()).faults
    };
    assert_eq!(with(&[]), ["sshd: no such PAM service file, and listen = []: nobody can log in"]);
    let good =
        format!("@include common-auth\nauth required pam_wgmfa.so otp\n{ACCOUNT}session required pam_wgmfa.so\n");
    let unix = (
        "common-auth",
        "auth [success=1 default=ignore] pam_unix.so\nauth requisite pam_deny.so\nauth required pam_permit.so\n",
    );
    assert_eq!(with(&[("sshd", &good), unix]), [""; 0]);
    let weak = format!("auth sufficient pam_unix.so\nauth required pam_wgmfa.so otp\n{ACCOUNT}");
    assert_eq!(
        with(&[("sshd", &weak)]),
        [
            "sshd:1: 'sufficient' before pam_wgmfa.so lets a single factor pass (make it 'required')",
            "sshd: no line 'session required pam_wgmfa.so': no session that passed the code is told to the keeper, and nothing \
             is released",
        ]
    );
    // with a front of its own the bastion has nothing to do with sshd
    assert_eq!(findings(&[("wgmfa", &own), ("sshd", &weak)], |_| {}).faults, [""; 0]);
}

#[test]
fn a_required_or_optional_module_whose_success_counts_alone_is_named() {
    for (auth, fault) in [
        (
            "auth optional pam_wgmfa.so\n",
            "wgmfa:1: pam_wgmfa.so is 'optional', so its refusal does not end the login (make it 'required')",
        ),
        (
            "auth [success=ok default=ignore] pam_wgmfa.so\nauth sufficient pam_permit.so\n",
            "wgmfa:1: pam_wgmfa.so is '[success=ok default=ignore]', so its refusal does not end the login (make it 'required')",
        ),
    ] {
        assert_eq!(faults(&format!("{auth}{ACCOUNT}")), [fault], "{auth}");
    }
}
