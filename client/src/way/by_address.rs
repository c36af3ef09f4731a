//! How ssh is told the address of a host whose name cannot be looked up, and goes on knowing it by its name.

use std::ffi::OsString;
use std::net::IpAddr;

use super::first_hop::{FirstHop, configuration_file};

/// `-o HostName=… -o HostKeyAlias=…`: another way to the host, the same key.
pub fn by_address(hop: &FirstHop, address: &str) -> String {
    format!("-o HostName={address} -o HostKeyAlias={}", known_as(hop))
}

/// The name under which ssh knows the key of a host (`known_hosts`, sshd(8)).
fn known_as(hop: &FirstHop) -> String {
    match &hop.alias {
        Some(alias) => alias.clone(),
        None if hop.port == 22 => hop.host.clone(),
        None => format!("[{}]:{}", hop.host, hop.port),
    }
}

/// The same for a jump host, which gets no option of ssh's but the configuration file.
pub fn by_config(hop: &FirstHop, address: IpAddr, options: &[OsString]) -> String {
    let mut text = format!(
        "# written by wgmfa sync: a jump host whose name could not be looked up\nHost {}\n  HostName {address}\n  \
         HostKeyAlias {}\nMatch all\n",
        hop.name,
        known_as(hop)
    );
    let named = configuration_file(options);
    match named.last().map(|file| file.to_string_lossy().into_owned()) {
        Some(file) => {
            let file = if named.len() == 1 { file.trim_start_matches("-F") } else { &file };
            if file != "none" {
                let file = std::path::absolute(file).unwrap_or_else(|_| file.into());
                text += &format!("Include \"{}\"\n", file.display());
            }
        }
        None => text += "Include ~/.ssh/config\nInclude /etc/ssh/ssh_config\n",
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(port: u16, alias: Option<&str>) -> FirstHop {
        let alias = alias.map(str::to_owned);
        FirstHop { name: "b".to_owned(), host: "b.example.net".to_owned(), port, alias, family: None, jumps: true }
    }

    #[test]
    fn a_host_that_is_reached_by_its_address_keeps_the_name_of_its_key() {
        let by = |hop: &FirstHop| by_address(hop, "192.0.2.7");
        assert_eq!(by(&hop(22, None)), "-o HostName=192.0.2.7 -o HostKeyAlias=b.example.net");
        assert_eq!(by(&hop(2222, None)), "-o HostName=192.0.2.7 -o HostKeyAlias=[b.example.net]:2222");
        assert_eq!(by(&hop(2222, Some("key"))), "-o HostName=192.0.2.7 -o HostKeyAlias=key");
    }

    #[test]
    fn a_jump_host_is_told_by_a_configuration_that_includes_the_persons() {
        let text = |options: &[&str]| {
            let options: Vec<OsString> = options.iter().map(OsString::from).collect();
            by_config(&hop(22, None), "2001:db8::7".parse().unwrap(), &options)
        };
        let own = text(&[]);
        assert!(own.contains("Host b\n  HostName 2001:db8::7\n  HostKeyAlias b.example.net\nMatch all\n"), "{own}");
        assert!(own.ends_with("Include ~/.ssh/config\nInclude /etc/ssh/ssh_config\n"), "{own}");
        assert!(text(&["-F", "/x/c"]).ends_with("Match all\nInclude \"/x/c\"\n"));
        assert!(text(&["-F/x/c"]).ends_with("Match all\nInclude \"/x/c\"\n"));
        assert!(text(&["-F", "none"]).ends_with("Match all\n"));
    }
}
