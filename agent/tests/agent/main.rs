//! The built agent on a real interface, with a scripted bastion. Needs root, `wg`, `ip` and `wireguard-go`.

mod bastion;
mod bed;
mod gates;
mod person;

mod a_caller_is_known_by_the_address;
mod a_changed_key_is_locked;
mod a_code_opens_the_gate;
mod a_deadline_needs_nobody;
mod a_deposit_may_be_overtaken;
mod a_gate_that_cannot_be_made_confirms_nothing;
mod a_killed_agent_converges;
mod a_noisy_caller_disturbs_nobody;
mod a_round_deposits_before_it_applies;
mod a_session_is_opened_and_prolonged;
mod a_session_outlasts_a_reboot;
mod faults_are_named;
mod grants_outlast_the_agent_and_nothing_else;
mod keys_stand_wherever_an_interface_is_configured;
mod root_has_a_way_in;
