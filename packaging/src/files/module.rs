//! `pam_wgmfa.so`: no configuration file, but options that stand behind the module's name.

/// What the page of the PAM module says.
#[derive(Debug)]
pub struct Module {
    /// Its line in a PAM service.
    pub synopsis: &'static str,
    /// Paragraphs.
    pub description: &'static [&'static str],
    /// Options, and what they do.
    pub options: &'static [(&'static str, &'static str)],
    /// What it returns, and when.
    pub returns: &'static [(&'static str, &'static str)],
    /// Lines of PAM services, and what they are for.
    pub examples: &'static [(&'static str, &'static str)],
}

/// The PAM module.
pub const MODULE: Module = Module {
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
        ("PAM_AUTHINFO_UNAVAIL", "The keeper cannot be asked."),
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
};
