//! The durable log: one store, two engines, damaged and full disks, power cuts, and Raft on top of it.

mod crash;
mod damage;
mod disk;
mod raft;
mod store;
mod suite;
mod support;
