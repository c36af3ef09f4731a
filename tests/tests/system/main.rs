//! The whole system: each module is a behaviour, each test a sentence about it.

mod a_code_is_accepted_once;
mod a_key_travels_from_gateway_to_laptop;
mod a_session_ends_at_its_deadline;
mod a_wrong_password_is_refused;
mod stock_ssh_and_wg_alone_are_enough;
