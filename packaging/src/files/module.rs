//! Pages of what has no configuration file and no command line of clap: `pam_wgmfa.so` and `wgmfa-sync`.

use crate::programs::EXIT_STATUS;

/// What such a page says.
#[derive(Debug)]
pub struct Module {
    /// Its name.
    pub name: &'static str,
    /// The section of the page.
    pub section: &'static str,
    /// What it is, in a line.
    pub title: &'static str,
    /// Its line in a PAM service, or its command line.
    pub synopsis: &'static str,
    /// Paragraphs.
    pub description: &'static [&'static str],
    /// Options, and what they do.
    pub options: &'static [(&'static str, &'static str)],
    /// What it returns, and when.
    pub returns: &'static [(&'static str, &'static str)],
    /// Lines, and what they are for.
    pub examples: &'static [(&'static str, &'static str)],
    /// Pages to read next.
    pub see_also: &'static str,
}

/// The PAM module.
pub const MODULE: Module = Module {
    name: "pam_wgmfa",
    section: "8",
    title: "PAM module for the one-time codes of wgmfa",
    synopsis: "pam_wgmfa.so [password] [otp] [try_first_pass] [use_first_pass] [prompt=TEXT] [socket=PATH] [debug]",
    description: &[
        "It asks a person for password and one-time code, and the bastion's keeper on this machine whether they are good; a code is \
         good once. Whoever is refused learns nothing: wrong, unknown, locked and disabled have one answer, and both questions \
         are always asked. The reason stands in the log of the bastion.",
        "account refuses disabled people; session tells the keeper which login passed. An option that it does not know refuses \
         everybody: one that is passed over in silence could be the one that asks for the code.",
        "It comes into force only in the PAM services that name it. There is no profile for pam-auth-update(8) on purpose: a \
         click there would put the code into su(1) and the console.",
    ],
    options: &[
        ("password", "Ask for the password. Without password and otp it asks for both, always both."),
        ("otp", "Ask for the one-time code; alone, behind another module that has checked the password."),
        ("try_first_pass", "Take the password that a module above has asked for; ask if there is none."),
        ("use_first_pass", "Take the password that a module above has asked for; refuse if there is none."),
        ("prompt=TEXT", "The question for the one-time code. In brackets if it has spaces: [prompt=Code for ada: ]."),
        ("socket=PATH", "Where the keeper listens, an absolute path; /run/wgmfa/keeper.sock otherwise."),
        ("debug", "Log acceptances too."),
    ],
    returns: &[
        ("PAM_SUCCESS", "Both were good."),
        ("PAM_AUTH_ERR", "Wrong, unknown, locked or disabled."),
        ("PAM_AUTHINFO_UNAVAIL", "The keeper cannot be asked, or an option is unknown."),
    ],
    examples: &[
        (
            "The bastion's own service, /etc/pam.d/wgmfa:",
            "auth     required  pam_wgmfa.so\naccount  required  pam_wgmfa.so\nsession  required  pam_wgmfa.so",
        ),
        (
            "The site's own sshd on the bastion, in /etc/pam.d/sshd, behind the lines that check the password:",
            "auth     required  pam_wgmfa.so otp\nsession  required  pam_wgmfa.so",
        ),
    ],
    see_also: "wgmfa-bastion(8), wgmfa-bastion.toml(5), wgmfa-sync(1), pam.conf(5), pam(7)",
};

/// The program for people who come by the site's own sshd.
pub const SYNC: Module = Module {
    name: "wgmfa-sync",
    section: "1",
    title: "fetch released preshared keys on a bastion, by the site's own sshd",
    synopsis: "ssh BASTION wgmfa-sync [--format tsv|json] [--device NAME] [--push HOST] [CONNECTION]...",
    description: &[
        "It carries one command of a person who has just logged in through the site's own sshd(8) to the keeper of \
         wgmfa-bastion(8), and the answer back: the keys on standard output, PEER-PUBLIC-KEY, a tab, PRESHARED-KEY, a line each; \
         what a person wants to read on standard error. It decides nothing. Where people come by the bastion's own SSH server, \
         that answers the same words, and this program is not used.",
        "It is set-group-id, with a group that nobody is in: by that the keeper knows it, and no other process of the same \
         person can look into it. The keeper releases only to a process that descends from the very sshd session in which \
         pam_wgmfa(8) has passed the code, once, and within a minute.",
    ],
    options: &[
        ("--format tsv|json", "Lines, or one JSON object."),
        ("--device NAME", "The keys of this device; a person with several names one."),
        ("--push HOST", "To a host that the person owns, whose agent applies the keys; prints none."),
        ("CONNECTION", "Only these; a unique part of a connection's name will do."),
    ],
    returns: &EXIT_STATUS,
    examples: &[
        ("In sshd_config(5) on the bastion, for wgmfa(1):", "Subsystem wgmfa-sync /usr/bin/wgmfa-sync"),
        ("Without the person's half of wgmfa(1):", "ssh bastion wgmfa-sync | sudo wgmfa apply"),
    ],
    see_also: "wgmfa-bastion(8), pam_wgmfa(8), wgmfa(1), sshd_config(5)",
};
