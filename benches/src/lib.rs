//! Measuring: the parts of the load driver (`load`), beside which `benches/` holds the micro-benchmarks.
//!
//! Nothing here is part of what ships, and nothing here asserts a speed: machines differ, ratios are printed.

pub mod load;

/// The part of etcd's API that is used, generated from `proto/etcd.proto`.
#[allow(missing_docs, clippy::all)]
pub mod etcd_api {
    include!(concat!(env!("OUT_DIR"), "/etcdserverpb.rs"));
}
