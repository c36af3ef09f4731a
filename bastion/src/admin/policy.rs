//! `policy …` and `reload`, on the policies in force and the connections that the store knows.

use wgmfa_core::exit::Failure;
use wgmfa_core::explain::explain;
use wgmfa_core::policy::{Policy, PolicySet, Selection, Selector};

use super::answer::{Answer, json_line, shown, with_exit};
use super::site::Site;
use super::{Asked, Context};
use crate::check::explain::{for_people, named};
use crate::check::policies::check;
use crate::cli::words::PolicyCommand;
use crate::policies::{Trust, digest, load};
use crate::store::{Event, Note};

/// Carries out one of these commands.
///
/// # Errors
/// A name is nobody's, or the store cannot be read.
pub fn run(command: &PolicyCommand, asked: &Asked<'_>, context: &Context<'_>) -> Answer {
    let inventory = context.store.inventory()?;
    match command {
        PolicyCommand::Check { .. } => {
            let (text, exit) = check(&context.config.policy_dir, Trust::Required, &inventory, asked.json);
            Ok(with_exit(text, exit))
        }
        PolicyCommand::Explain { names, .. } => {
            let mut explanations = explain(context.policies, &inventory, context.now);
            explanations.connections = named(explanations.connections, names)?;
            if asked.json {
                return Ok(shown(json_line(&serde_json::json!(explanations))));
            }
            Ok(shown(for_people(&explanations.connections, &context.when())))
        }
    }
}

/// `reload`: the policy files anew, all or nothing; tells what changes.
///
/// # Errors
/// The files have faults; the policies in force stay.
pub fn reload(dry_run: bool, asked: &Asked<'_>, context: &Context<'_>) -> Answer {
    let set = load(&context.config.policy_dir).map_err(|failure| refused(failure, dry_run, context))?;
    let site = Site::read(context.store)?;
    let difference = Difference::between(context.policies, &set, &site);
    let changed = set.policies() != context.policies.policies();
    let mut outcome = shown(if asked.json {
        json_line(&serde_json::json!({
            "version": 1,
            "changed": changed && !dry_run,
            "lock_now": difference.lock_now,
            "change_policy": difference.change_policy,
            "lose_second_factor": difference.lose_second_factor,
            "lock_at_deadline": difference.lock_at_deadline,
        }))
    } else {
        difference.text()
    });
    if !dry_run {
        let summary = format!("{} policies: {}", set.policies().len(), difference.text().trim_end());
        context.act(|actor| context.store.note_policies(context.now, actor, &digest(&set), &summary))?;
        outcome.policies = Some(set);
    }
    Ok(outcome)
}

fn refused(failure: Failure, dry_run: bool, context: &Context<'_>) -> Failure {
    if !dry_run {
        let reason = failure.error.lines().last().unwrap_or_default().to_owned();
        let note = Note::new(Event::PoliciesRefused).reason(reason);
        // the refusal is told either way
        let _ = context.act(|actor| context.store.note(context.now, note.actor(actor)));
    }
    failure.hint("the policies in force stay as they are")
}

/// What another set of policies does to the connections.
#[derive(Debug, Default, PartialEq, Eq)]
struct Difference {
    /// A policy with a second factor covers them now, and did not before.
    lock_now: usize,
    /// Another policy applies, or the same one with other values.
    change_policy: usize,
    /// A policy with a second factor covered them, and one without covers them now.
    lose_second_factor: usize,
    /// No policy covers them any more: they stay locked, or are locked when their session is over.
    lock_at_deadline: usize,
}

impl Difference {
    fn between(old: &PolicySet, new: &PolicySet, site: &Site) -> Self {
        let (mut old, mut new) = (Selector::new(old), Selector::new(new));
        let mut difference = Self::default();
        for connection in &site.connections {
            let (before, after) = (old.select(connection), new.select(connection));
            let was_mfa = before.policy().is_some_and(Policy::mfa);
            match after.policy() {
                Some(policy) if policy.mfa() && !was_mfa => difference.lock_now += 1,
                Some(policy) if !policy.mfa() && was_mfa => difference.lose_second_factor += 1,
                None if was_mfa => difference.lock_at_deadline += 1,
                _ if changed(&before, &after) => difference.change_policy += 1,
                _ => {}
            }
        }
        difference
    }

    /// `19 connections lock now, 2 change policy`
    fn text(&self) -> String {
        let parts = [
            (self.lock_now, "locks now", "lock now"),
            (self.change_policy, "changes policy", "change policy"),
            (self.lose_second_factor, "loses its second factor", "lose their second factor"),
            (self.lock_at_deadline, "stays locked after its deadline", "stay locked after their deadline"),
        ];
        let mut text = String::new();
        for (number, one, several) in parts {
            if number == 0 {
                continue;
            }
            let noun = match (text.is_empty(), number) {
                (true, 1) => " connection",
                (true, _) => " connections",
                (false, _) => "",
            };
            let comma = if text.is_empty() { "" } else { ", " };
            text.push_str(&format!("{comma}{number}{noun} {}", if number == 1 { one } else { several }));
        }
        if text.is_empty() { "no connection changes\n".to_owned() } else { format!("{text}\n") }
    }
}

fn changed(before: &Selection<'_>, after: &Selection<'_>) -> bool {
    // a file that was only renamed is the same policy
    let unnamed = |policy: &Policy| Policy { file: String::new(), ..policy.clone() };
    match (before, after) {
        (
            Selection::Applies { policy: old, sides: old_sides },
            Selection::Applies { policy: new, sides: new_sides },
        ) => old_sides != new_sides || unnamed(old) != unnamed(new),
        (Selection::None, Selection::None) => false,
        (Selection::Conflict { reason: old, .. }, Selection::Conflict { reason: new, .. }) => old != new,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::site::tests::article;

    fn set(files: &[(&str, &str)]) -> PolicySet {
        let files: Vec<_> = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        PolicySet::parse(&files).unwrap()
    }

    const PROD: &str =
        "description = \"Prod\"\nrotation-interval = \"1h\"\nmfa = true\nserver-peers = [\"*/devices\"]\n";
    const INFRA: &str = "description = \"Infra\"\nrotation-interval = \"1d\"\nmfa = false\npeers = [\"*/infra\"]\n";

    #[test]
    fn a_reload_tells_what_it_does_to_the_connections() {
        let site = article();
        let text = |old: &[_], new: &[_]| Difference::between(&set(old), &set(new), &site).text();
        let (prod, infra) = (("1-prod.toml", PROD), ("2-infra.toml", INFRA));
        assert_eq!(text(&[infra], &[prod, infra]), "8 connections lock now\n");
        let mail = PROD.replace("*/devices", "mail-gw/*").replace("1h", "10m");
        assert_eq!(
            text(&[("3-prod.toml", PROD)], &[("0-mail.toml", &mail), ("3-prod.toml", PROD)]),
            "2 connections change policy\n"
        );
        assert_eq!(text(&[prod], &[("9-prod.toml", PROD)]), "8 connections change policy\n");
        assert_eq!(text(&[prod, infra], &[infra]), "8 connections stay locked after their deadline\n");
        let two_hours = PROD.replace("1h", "2h");
        let open = INFRA.replace("*/infra", "mail-gw/*");
        assert_eq!(
            text(&[infra, prod], &[("0-open.toml", &open), ("1-prod.toml", &two_hours)]),
            "9 connections change policy, 2 lose their second factor\n"
        );
        assert_eq!(text(&[prod], &[prod]), "no connection changes\n");
    }
}
