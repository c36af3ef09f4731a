//! What a new person gets, shown once: the secret for one-time codes, as URL and QR code, and recovery codes.

use jiff::Timestamp;
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use wgmfa_core::code::{self, CodeSecret, CodeVerdict, Parameters, RecoveryCode, otpauth_url, recovery_hash};
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::key::SecretText;
use wgmfa_core::name::UserName;
use wgmfa_core::password::fit;
use zeroize::Zeroizing;

use crate::store::{NewPerson, Password, hash_password};

/// How many recovery codes a person gets.
const RECOVERY_CODES: usize = 10;

/// Fresh secrets of a person.
pub struct Credentials {
    url: Zeroizing<String>,
    secret: CodeSecret,
    /// The recovery codes.
    pub recovery: RecoveryCodes,
}

/// Fresh recovery codes.
pub struct RecoveryCodes(Vec<RecoveryCode>);

impl Credentials {
    /// New random ones; `bastion` is the name that stands in the authenticator app.
    pub fn random(bastion: &str, user: &UserName) -> Self {
        let secret = CodeSecret::from_random(rand::random());
        let url = otpauth_url(&secret, Parameters::default(), bastion, user);
        Self { url, secret, recovery: RecoveryCodes::random() }
    }

    /// A person with these, for the store.
    pub fn person(&self, name: &UserName, admin: bool, password: Password) -> NewPerson {
        let (code, recovery) = (Some(self.code()), self.recovery.hashes(name));
        NewPerson { name: name.clone(), admin, password, code, recovery, invitation: None }
    }

    /// The secret for one-time codes, for the store.
    pub fn code(&self) -> (CodeSecret, Parameters) {
        (self.secret.clone(), Parameters::default())
    }

    /// Judges a code of an app that has just got this secret.
    pub fn verify(&self, code: &str, now: Timestamp) -> CodeVerdict {
        code::verify(&self.secret, Parameters::default(), code, now, None)
    }

    /// All of it, for the one time that it is shown; `done` says what was done.
    pub fn show(&self, done: &str, user: &UserName, json: bool) -> SecretText {
        if json {
            let answer = serde_json::json!({
                "version": 1,
                "changed": true,
                "user": user,
                "otpauth_url": *self.url,
                "recovery_codes": self.recovery.texts().iter().map(|code| code.as_str()).collect::<Vec<_>>(),
            });
            return SecretText::new(format!("{answer}\n"));
        }
        let (app, codes) = (self.show_app(false), self.recovery.show(false));
        SecretText::new(format!("{done}\n\n{}{}", app.expose(), codes.expose()))
    }

    /// What goes into the authenticator app.
    pub fn show_app(&self, json: bool) -> SecretText {
        if json {
            return SecretText::new(format!("{}\n", serde_json::json!({ "version": 1, "otpauth_url": *self.url })));
        }
        let mut text = format!("For the authenticator app:\n\n{}\n\n", *self.url);
        if let Ok(code) = QrCode::new(self.url.as_bytes()) {
            // drawn for dark terminals; on light ones it is inverted, which scanners read as well
            let picture = code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build();
            text.push_str(&format!("{picture}\n\n"));
        }
        SecretText::new(text)
    }
}

impl RecoveryCodes {
    /// New random ones.
    pub fn random() -> Self {
        Self((0..RECOVERY_CODES).map(|_| RecoveryCode::from_random(rand::random())).collect())
    }

    /// For the store.
    pub fn hashes(&self, user: &UserName) -> Vec<[u8; 32]> {
        self.0.iter().map(|code| recovery_hash(user, code)).collect()
    }

    /// For the one time that they are shown.
    pub fn show(&self, json: bool) -> SecretText {
        let codes = self.texts();
        if json {
            let codes: Vec<_> = codes.iter().map(|code| code.as_str()).collect();
            let answer = serde_json::json!({ "version": 1, "changed": true, "recovery_codes": codes });
            return SecretText::new(format!("{answer}\n"));
        }
        let mut text = "Recovery codes, each good for one login in place of a one-time code:\n\n".to_owned();
        for code in &codes {
            text.push_str(&format!("    {}\n", **code));
        }
        text.push_str("\nNone of this is ever shown again.\n");
        SecretText::new(text)
    }

    fn texts(&self) -> Vec<Zeroizing<String>> {
        self.0.iter().map(RecoveryCode::expose_text).collect()
    }
}

/// A new password: the first line of standard input, hashed.
pub fn password_from(stdin: &str) -> Result<Password, Failure> {
    let line = first_line(stdin);
    let wrong = |what: &str| {
        Failure::new(Exit::Usage, format!("--password-stdin: {what}"))
            .hint("the password is the first line of standard input: --password-stdin < FILE")
    };
    if line.is_empty() {
        return Err(wrong("no password on standard input"));
    }
    fit(line).map_err(|unfit| wrong(&unfit.to_string()))?;
    Ok(Password::Hashed(hash_password(&SecretText::new(line.to_owned()))))
}

/// Where a password stands.
pub fn first_line(stdin: &str) -> &str {
    stdin.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_shown_as_url_picture_and_ten_codes() {
        let user: UserName = "justin".parse().unwrap();
        let credentials = Credentials::random("bastion", &user);
        let show = |json| credentials.show("added justin", &user, json).expose().to_owned();
        let text = show(false);
        assert!(text.starts_with(
            "added justin\n\nFor the authenticator app:\n\notpauth://totp/wgmfa%20bastion:justin?secret="
        ));
        assert_eq!(text.lines().filter(|line| line.starts_with("    ") && line.len() == 23).count(), 10, "{text}");
        assert!(text.contains('▀'), "{text}");
        let json: serde_json::Value = serde_json::from_str(&show(true)).unwrap();
        assert_eq!(json["changed"], true);
        assert_eq!(json["recovery_codes"].as_array().unwrap().len(), 10);
        assert!(json["otpauth_url"].as_str().unwrap().starts_with("otpauth://totp/"));
    }

    #[test]
    fn a_password_is_the_first_line_and_is_never_repeated_in_an_error() {
        assert_eq!(password_from("\nx").unwrap_err().error, "--password-stdin: no password on standard input");
        let long = "x".repeat(513);
        assert_eq!(password_from(&long).unwrap_err().error, "--password-stdin: a password has at most 512 bytes");
        let short = password_from("hunter2\n").unwrap_err();
        assert_eq!(short.error, "--password-stdin: a password has at least 8 characters");
        assert!(password_from("hunter22\n").is_ok());
        let torn = password_from("correct\0horse\n").unwrap_err();
        assert_eq!(torn.error, "--password-stdin: a password has no control characters");
    }
}
