//! Since when which set of policies is in force.

use jiff::Timestamp;

use super::{Actor, Change, Event, Note, Store, StoreError};

impl Store {
    /// Notes the set of policies in force by a digest of it. Only another digest is a change, with an audit line in
    /// which `summary` stands.
    pub fn note_policies(
        &self,
        now: Timestamp,
        actor: Actor<'_>,
        digest: &str,
        summary: &str,
    ) -> Result<Change, StoreError> {
        self.write(now, |w| {
            let sql = "UPDATE meta SET policies_digest = ?1, policies_since = ?2 WHERE policies_digest IS NOT ?1";
            if w.execute(sql, (digest, w.now))? == 0 {
                return Ok(Change::Unchanged);
            }
            w.audit(Note::new(Event::PoliciesLoaded).actor(actor).reason(summary))?;
            Ok(Change::Made)
        })
    }

    /// Since when the set of policies is in force; none: there never was one.
    pub fn policies_since(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.connection.query_row("SELECT policies_since FROM meta", [], |row| {
            super::column::time_or_none(row, "policies_since")
        })?)
    }
}
