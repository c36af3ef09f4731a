//! Following a change of the bastion's SSH host key: what becomes of a `known_hosts` file (sshd(8)) when the bastion, over a
//! connection that was authenticated with a key of that file, tells which keys it has and is going to have.
//!
//! Whoever answers with a key that is not in the file is never listened to, so there is no moment in which another one
//! could put a key of theirs there.

/// The most keys that a bastion may announce; what is beyond them is not learned.
pub const MOST_KEYS: usize = 16;

/// A file that is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Learned {
    /// The whole new text.
    pub text: String,
    /// The keys that are new in it, `TYPE BASE64`.
    pub added: Vec<String>,
    /// The keys that are gone: the bastion has retired them.
    pub removed: Vec<String>,
}

/// What the file becomes; `None`: it stays as it is.
///
/// `names` are how this side writes the bastion (`host` or `[host]:port`, then hashes of it); `known` are all keys under which the file knows
/// it, also by lines with several or hashed names; `in_use` is the key with which the bastion has just proved itself.
/// Keys are `TYPE BASE64`. Lines that name somebody else or several names, and lines with a marker, are never touched, and
/// the key in use is never removed: a bastion that does not announce it is not listened to.
pub fn learn(text: &str, names: &[&str], known: &[String], in_use: &str, announced: &[String]) -> Option<Learned> {
    let name = names.first()?;
    if !announced.iter().any(|key| key == in_use) {
        return None;
    }
    let retired = |line: &str| key_of(line, names).filter(|key| !announced.contains(key));
    let removed: Vec<String> = text.lines().filter_map(retired).collect();
    let mut added: Vec<String> = Vec::new();
    for key in announced.iter().take(MOST_KEYS) {
        if !known.contains(key) && !added.contains(key) {
            added.push(key.clone());
        }
    }
    if added.is_empty() && removed.is_empty() {
        return None;
    }
    let mut fresh: String = text.split_inclusive('\n').filter(|line| retired(line).is_none()).collect();
    if !fresh.is_empty() && !fresh.ends_with('\n') {
        fresh.push('\n');
    }
    fresh.extend(added.iter().map(|key| format!("{name} {key}\n")));
    Some(Learned { text: fresh, added, removed })
}

/// The key of a line that is about one of these names alone.
fn key_of(line: &str, names: &[&str]) -> Option<String> {
    let mut words = line.split_whitespace();
    if !names.contains(&words.next()?) {
        return None;
    }
    Some(format!("{} {}", words.next()?, words.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "ssh-ed25519 AAAAold";
    const NEW: &str = "ssh-ed25519 AAAAnew";
    const NAME: &str = "[bastion]:2222";

    fn keys(keys: &[&str]) -> Vec<String> {
        keys.iter().map(|key| (*key).to_owned()).collect()
    }

    #[test]
    fn a_key_is_learned_ahead_used_and_the_old_one_forgotten() {
        let ahead = learn(&format!("{NAME} {OLD} comment"), &[NAME], &keys(&[OLD]), OLD, &keys(&[OLD, NEW])).unwrap();
        assert_eq!(ahead.text, format!("{NAME} {OLD} comment\n{NAME} {NEW}\n"));
        assert_eq!((ahead.added.clone(), ahead.removed), (keys(&[NEW]), vec![]));
        // the same again changes nothing, with either key in use
        for in_use in [OLD, NEW] {
            assert_eq!(learn(&ahead.text, &[NAME], &keys(&[OLD, NEW]), in_use, &keys(&[OLD, NEW])), None);
        }
        let after = learn(&ahead.text, &[NAME], &keys(&[OLD, NEW]), NEW, &keys(&[NEW])).unwrap();
        assert_eq!((after.text, after.removed), (format!("{NAME} {NEW}\n"), keys(&[OLD])));
    }

    #[test]
    fn who_does_not_announce_the_key_it_used_is_not_listened_to() {
        let text = format!("{NAME} {OLD}\n");
        assert_eq!(learn(&text, &[NAME], &keys(&[OLD]), OLD, &keys(&[NEW])), None);
        assert_eq!(learn(&text, &[NAME], &keys(&[OLD]), OLD, &[]), None);
    }

    #[test]
    fn lines_of_others_stay_byte_for_byte() {
        let others = format!(
            "# mine\n\n@revoked {NAME} {NEW}\nother {OLD}\n{NAME},192.0.2.1 {OLD}\n|1|hash= {OLD}\n  x\t{NEW}\r\n"
        );
        let text = format!("{others}{NAME} {OLD}\n");
        let learned = learn(&text, &[NAME], &keys(&[OLD, NEW]), NEW, &keys(&[NEW])).unwrap();
        assert_eq!((learned.text, learned.added), (others, vec![]));
    }

    #[test]
    fn not_more_than_a_few_keys_are_learned() {
        let many: Vec<String> = (0..1000).map(|number| format!("ssh-ed25519 AAAA{number}")).collect();
        let learned = learn("", &[NAME], &[], &many[0], &many).unwrap();
        assert_eq!(learned.added.len(), MOST_KEYS);
    }
}
