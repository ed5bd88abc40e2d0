//! A hub as it ships, on real sockets: what it tells operators, and the files that it shows.

mod health;
mod lone_hub;
mod published_files;
