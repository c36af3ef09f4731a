//! The whole system: each module is a behaviour, each test a sentence about it.

mod a_bastion_that_is_away_keeps_nobody_in;
mod a_clock_that_is_set_back_opens_nothing;
mod a_code_is_accepted_once;
mod a_key_from_outside_is_locked;
mod a_key_travels_from_gateway_to_laptop;
mod a_killed_agent_loses_no_key;
mod a_killed_bastion_loses_no_key;
mod a_login_opens_one_device;
mod a_rebooted_gateway_lets_nobody_in;
mod a_removed_policy_lets_its_session_end;
mod a_second_agent_replaces_the_first;
mod a_session_ends_at_its_deadline;
mod a_wrong_password_is_refused;
mod administrators_cut_off_at_once;
mod no_packet_passes_after_the_deadline;
mod root_on_the_gateway_has_a_way_in;
mod stock_ssh_and_wg_alone_are_enough;
mod the_readme_can_be_followed;
mod the_readme_names_what_exists;
