//! The projection held against the state it is of: by itself, and in a real MariaDB.

mod following;
mod history;
#[path = "../../../tests/mariadb/mod.rs"]
mod mariadb;
mod stage;
mod stories;
