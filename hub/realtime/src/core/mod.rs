//! What presence and direct messages are, purely: no waiting, clock, chance, sockets or output. What the hub says to clients and
//! to other hubs follows from what it was told, in its order.

pub mod ascii;
pub mod changes;
pub mod double_utf8;
pub mod message;
pub mod name;
pub mod pace;
pub mod packet;
pub mod remote;
pub mod users;
