//! The console of a volunteer's virtual machine: asks for a join string, then tells how the peer is doing.
//!
//! Never speaks to a hub: the peer does. Never runs where no image put it.

pub mod frame;
pub mod join;
pub mod line;
pub mod machine;
pub mod proc;
pub mod screen;
pub mod seed;
pub mod settings;
pub mod stage;
