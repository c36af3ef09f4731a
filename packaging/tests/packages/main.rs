//! What is installed: by packages, and without.

mod built;
mod other_systems_install_by_the_same_list;
mod they_come_and_go;
mod they_run_under_systemd;
