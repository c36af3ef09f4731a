//! `wgmfa` as a person runs it: on real interfaces, with a script in place of `ssh` that plays any bastion, good or bad.

mod inside;
mod scene;

mod a_code_is_given_inside_the_tunnel;
mod a_desktop_is_warned_once;

mod a_hostile_bastion_gets_nowhere;
mod a_hostile_gateway_gets_nowhere;
mod a_login_may_fail;
mod keys_are_applied_from_a_pipe;
mod keys_are_fetched_and_written;
mod keys_are_saved_wherever_the_interface_is_configured;
mod machines_without_wgmfa_have_a_script;
mod post_up_asks_for_a_code;
mod post_up_never_takes_the_interface_down;
mod rights_come_before_the_login;
mod status_needs_no_rights;
mod tiers_are_shown;
