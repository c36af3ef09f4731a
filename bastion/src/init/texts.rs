//! The files that `init` writes.

use std::path::{Path, PathBuf};

use crate::config::Config;

/// `/etc/wgmfa/bastion.toml`
pub fn configuration() -> String {
    render(Path::new("/etc/wgmfa"), Path::new("/var/lib/wgmfa"), Path::new("/run/wgmfa"), None, "wgmfa")
}

/// `DIR/bastion.toml` of a trial: every path is below `dir`.
pub fn trial_configuration(dir: &Path, front_user: &str) -> String {
    render(dir, &dir.join("state"), &dir.join("run"), Some(&dir.join("pam.d")), front_user)
}

fn render(etc: &Path, state: &Path, run: &Path, pam: Option<&Path>, front_user: &str) -> String {
    let quoted = |path: &Path| quote(&path.display().to_string());
    let mut text = format!(
        "# Configuration of wgmfa-bastion. Look at it with: wgmfa-bastion check

# Where people and agents come by SSH. [] leaves people to this machine's own sshd.
listen       = [\"0.0.0.0:2222\", \"[::]:2222\"]
# Where agents come; []: to the addresses above.
agent-listen = []

state-dir    = {}
policy-dir   = {}
run-dir      = {}
host-keys    = [{}]
sealing-key  = {}

# The PAM service that every login runs through.
pam-service  = \"wgmfa\"
",
        quoted(state),
        quoted(&etc.join("policy.d")),
        quoted(run),
        quoted(&etc.join("ssh_host_ed25519_key")),
        quoted(&etc.join("sealing.key")),
    );
    if let Some(pam) = pam {
        text.push_str(&format!(
            "# A folder of PAM services of our own, in place of /etc/pam.d.\npam-dir      = {}\n",
            quoted(pam)
        ));
    }
    text.push_str(&format!(
        "# false only where another PAM module is the second factor.
require-code = true
# What people prove before the one-time code.
first-factor = \"password\"

# Where Prometheus may read: \"unix:/run/wgmfa/metrics.sock\" (for root and its group) or a loopback address.
# metrics    = \"127.0.0.1:9586\"

# Shown after a refused login: whom to call.
contact      = \"\"

# The user as whom the process runs that speaks to the network.
front-user   = {}
# The group of the program wgmfa-sync, through which people ask who come by this machine's own sshd.
people-group = \"wgmfa-sync\"
",
        quote(front_user)
    ));
    text
}

/// A TOML basic string.
fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// The PAM service. In a trial the module may lie beside this program, and asks at the trial's own socket.
pub fn pam_service(config: &Config) -> String {
    let (module, option) = match &config.pam_dir {
        Some(_) => (
            built_module().map_or("pam_wgmfa.so".to_owned(), |path| path.display().to_string()),
            socket_option(&config.keeper_socket()),
        ),
        None => ("pam_wgmfa.so".to_owned(), String::new()),
    };
    ["auth   ", "account", "session"].map(|kind| format!("{kind}  required  {module}{option}\n")).concat()
}

fn socket_option(socket: &Path) -> String {
    let option = format!("socket={}", socket.display());
    // pam.conf(5): an argument with blanks stands in brackets
    if option.contains([' ', '[', ']']) { format!(" [{}]", option.replace(']', "\\]")) } else { format!(" {option}") }
}

/// The PAM module beside this program, as `cargo build` leaves it.
fn built_module() -> Option<PathBuf> {
    let folder = std::env::current_exe().ok()?.parent()?.to_owned();
    ["pam_wgmfa.so", "libpam_wgmfa.so"].iter().map(|name| folder.join(name)).find(|path| path.is_file())
}

/// A policy that is valid and covers nothing, so that a new bastion starts.
pub const EXAMPLE_POLICY: &str = "\
# A sample. It covers nothing until a host is called example-gw; change it, or put your own files beside it.
# The number in front of the file's name is the policy's ordinal: the lowest that names a connection wins.
# Look at it with:      wgmfa-bastion policy check
# Put it in force with: wgmfa-bastion reload

description       = \"Example\"

# How long a login is good for: 30s, 10m, 1h, 1d, 1d12h.
rotation-interval = \"1h\"

# true: a person must log in with password and one-time code. false: both ends rotate together, without a person.
mfa               = true

# These interfaces (HOST/INTERFACE) let a peer in only after its owner's login.
server-peers      = [\"example-gw/wg0\"]
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_that_init_writes_is_the_documented_default() {
        let path = Path::new("/etc/wgmfa/bastion.toml");
        assert_eq!(Config::parse(path, &configuration()).unwrap(), Config::parse(path, "").unwrap());
    }

    #[test]
    fn a_trial_has_all_its_paths_below_its_folder() {
        let dir = Path::new("/t/a \"b\"");
        let config = Config::parse(&dir.join("bastion.toml"), &trial_configuration(dir, "nobody")).unwrap();
        let paths = [&config.state_dir, &config.policy_dir, &config.run_dir, &config.host_keys[0], &config.sealing_key];
        assert!(paths.iter().all(|path| path.starts_with(dir)), "{config:?}");
        assert_eq!(config.pam_file(), dir.join("pam.d/wgmfa"));
        assert!(pam_service(&config).ends_with(" [socket=/t/a \"b\"/run/keeper.sock]\n"), "{}", pam_service(&config));
    }

    #[test]
    fn the_pam_service_is_the_documented_one() {
        let config = Config::parse(Path::new("/etc/wgmfa/bastion.toml"), "").unwrap();
        let expected =
            "auth     required  pam_wgmfa.so\naccount  required  pam_wgmfa.so\nsession  required  pam_wgmfa.so\n";
        assert_eq!(pam_service(&config), expected);
    }
}
