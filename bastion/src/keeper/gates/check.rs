//! A host asks whether a one-time code is good that somebody has given inside a tunnel.

use wgmfa_core::code::looks_like_recovery;
use wgmfa_core::gate::code::{Admission, Attempt, Facts, Question, attempt, locked, may_ask, wrong};
use wgmfa_core::gate::{CodeVerdict, TierLeft};
use wgmfa_core::key::SecretText;
use wgmfa_core::login::{Answer, Evidence, Judgement, judge};
use wgmfa_core::message::agent::{PeerRef, TierWish};
use wgmfa_core::name::{HostName, UserName};
use wgmfa_core::policy::Selector;

use super::assign::other_end;
use crate::admin::site::{Site, places};
use crate::keeper::coverage::session_end;
use crate::keeper::verify::judge_code;
use crate::keeper::{Keeper, say, seconds_until};
use crate::store::{Grant, GrantedBy, Place, StoreError, TunnelCode};

impl Keeper {
    /// Judges a code. One that is accepted is used up, and what it opens is recorded, when this returns.
    pub(in crate::keeper) fn check_code(
        &self,
        host: &HostName,
        peer: &PeerRef,
        tiers: &[TierWish],
        code: &SecretText,
    ) -> CodeVerdict {
        let place = Place::new(host, peer);
        self.judge_tunnel_code(&place, tiers, code).unwrap_or_else(|error| {
            say(&format!("a code inside a tunnel of {}: {error}", place.server_side));
            CodeVerdict::Refuse { reason: "the bastion cannot record anything now".to_owned() }
        })
    }

    fn judge_tunnel_code(
        &self,
        place: &Place,
        tiers: &[TierWish],
        code: &SecretText,
    ) -> Result<CodeVerdict, StoreError> {
        let now = self.now();
        let site = Site::around(&self.store, std::slice::from_ref(place))?;
        let policies = self.policies.borrow().clone();
        let found = site.connections.iter().find(|connection| places(connection).contains(place));
        let known = found.map(|connection| (connection, Selector::new(&policies.set).select(connection)));
        let record = site.record(place);
        let cut_off = found.and_then(|connection| site.cut_off(connection));
        let facts = Facts {
            connection: known.as_ref().map(|(connection, selection)| (*connection, selection)),
            end: &place.server_side,
            cut_off: cut_off.as_deref().or_else(|| record?.kept_locked.as_deref()),
            key_until: record.and_then(|record| session_end(record, now)),
            tiers,
        };
        let (Question { person, grants }, device) = match (may_ask(&facts, now), found) {
            (Admission::Judge(question), Some(connection)) => (question, other_end(connection, place)),
            (Admission::Judge(_), None) => unreachable!("nothing is asked about an unknown peer"),
            (Admission::Refuse(reason), _) => {
                self.note_refused_code(place, None, cut_off.as_deref().unwrap_or(reason))?;
                return Ok(CodeVerdict::Refuse { reason: reason.to_owned() });
            }
        };
        let charged = match attempt(&self.store.code_guesses(&person, place)?, now) {
            Attempt::Judge(charged) => charged,
            Attempt::Locked { until } => {
                self.note_refused_code(place, Some(&person), &format!("locked inside this tunnel until {until:.0}"))?;
                return Ok(locked(until, now));
            }
        };
        self.store.charge_code(now, &person, place, &charged)?;
        let refused = match self.judgement(&person, code)? {
            Judgement::Accept(used) => {
                let code = TunnelCode { place, person: &person, device: &device, used, grants: &grants };
                match self.store.grant_by_code(now, &code)? {
                    Ok(granted) => {
                        crate::keeper::crash_point("code-accepted");
                        self.measures.note_grants(GrantedBy::Code, granted.len());
                        let left = |Grant { tier, deadline, .. }: Grant| TierLeft {
                            tier,
                            seconds_left: seconds_until(deadline, now),
                        };
                        return Ok(CodeVerdict::Accept { grants: granted.into_iter().map(left).collect() });
                    }
                    Err(reason) => reason,
                }
            }
            Judgement::Invite => "an invitation is no code".to_owned(),
            Judgement::Refuse(reason) => reason,
        };
        self.note_refused_code(place, Some(&person), &refused)?;
        Ok(wrong(&charged, now))
    }

    /// As a login's code is judged; the first factor here is the device's own key.
    fn judgement(&self, person: &UserName, code: &SecretText) -> Result<Judgement, StoreError> {
        let now = self.now();
        let (credentials, known) = (self.store.credentials(person)?, self.store.person(person)?);
        let (_, telephone) = self.store.handouts(person)?;
        let recovery = looks_like_recovery(code.expose());
        let code = judge_code(Some(person), credentials.as_ref(), telephone.as_ref(), Some(code), recovery, now);
        Ok(judge(&Evidence {
            known: credentials.is_some(),
            disabled: known.is_none_or(|person| person.disabled),
            barred: None,
            invited: false,
            password: Answer::NotAsked,
            code,
        }))
    }

    fn note_refused_code(&self, place: &Place, person: Option<&UserName>, reason: &str) -> Result<(), StoreError> {
        self.measures.note_refused_code(reason);
        self.store.record_code_refusal(self.now(), place, person, reason)
    }
}
