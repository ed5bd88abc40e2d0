//! Whole systems: the programs as they ship, as processes of their own, with real signals, browsers and databases.

mod absence;
mod all_peers_away;
mod anonymous;
mod balance;
mod browser;
mod closing;
mod group_secret;
mod guests;
mod hostile;
mod hostile_connections;
mod hostile_peer;
mod kill;
mod membership;
mod migration;
mod nowhere;
mod operator;
mod projection;
mod realtime;
mod secrets;
mod static_files;
mod truth;
mod users;
mod watching;
