//! Checkpoints as files in the world: a stock MariaDB loads them and gives them back, the program writes and reads
//! them, and volunteers who mean harm make them.

mod forum;
mod hostile;
mod mariadb;
mod program;
mod stock;
