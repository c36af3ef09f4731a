//! What `init` tells its user to do next.

use nix::unistd::User;
use wgmfa_core::exit::Failure;

use crate::check::pam;
use crate::config::Config;
use crate::host_key;

/// The steps from here to the first login, and what people put into their ssh configuration.
///
/// # Errors
/// The host keys cannot be read.
pub fn text(config: &Config, trial: bool) -> Result<String, Failure> {
    let name = host_key::machine_name();
    let option = if trial { format!(" --config {}", config.path.display()) } else { String::new() };
    let command = |words: &str| format!("wgmfa-bastion{option} {words}");
    let mut steps = Vec::new();
    if User::from_name(&config.front_user).is_ok_and(|user| user.is_none()) && !trial {
        let user = &config.front_user;
        steps.push(format!("useradd --system --no-create-home --shell /usr/sbin/nologin {user}"));
    }
    if pam::module_file("pam_wgmfa.so").is_none() && !trial {
        steps.push("install pam_wgmfa.so where this machine keeps its PAM modules".to_owned());
    }
    steps.extend([
        format!("edit {}/500-example.toml, or put your own policies beside it", config.policy_dir.display()),
        command("check"),
        command("serve"),
        command("user add NAME --password-stdin"),
        command("host add HOST --key FILE"),
        command("device add DEVICE --owner NAME --public-key KEY"),
    ]);
    let mut text = "\nNext steps:\n".to_owned();
    for (number, step) in steps.iter().enumerate() {
        text.push_str(&format!("  {}. {step}\n", number + 1));
    }
    let port = config.listen.first().map_or(22, |address| address.port());
    text.push_str(&format!(
        "\nFor people's ~/.ssh/config:\n\nHost bastion\n    HostName {name}\n    Port {port}\n    User NAME\n"
    ));
    text.push_str("\nFor people's ~/.ssh/known_hosts:\n\n");
    text.push_str(&host_key::known_hosts(config, &name)?);
    Ok(text)
}
