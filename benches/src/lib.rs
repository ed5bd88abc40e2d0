//! loop-benches
