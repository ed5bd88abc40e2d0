//! loop-sim-tests
